import { lookup } from "node:dns";
import { connect, isIP, type LookupFunction, type Socket } from "node:net";
import { leadsBack, type Target } from "./gateway-target.ts";

/** Two reads of what the kernel has: less makes every full read stop the reading. */
export const bufferBytes: number = 128 * 1_024;
/** A peer that has gone without a word is noticed some minutes later. */
export const keepAliveMs = 60_000;

/** The leader's address is the gateway's own. */
export class LoopError extends Error {
  override readonly name: string = "LoopError";

  constructor({ name }: Target) {
    super(`the leader's address ${name} leads back to the gateway itself`);
  }
}

export interface ConnectOptions {
  readonly target: Target;
  /** Where the gateway listens. */
  readonly own: { readonly address: string; readonly port: number };
  readonly onConnected: (leader: Socket) => void;
  readonly onFailed: (error: Error) => void;
}

/** Opens a connection to a leader; calls one of the two, once, never in the same turn. The result gives it up. */
export function connectLeader({ target, own, onConnected, onFailed }: ConnectOptions): () => void {
  const guarded: LookupFunction = (host, options, callback) => {
    lookup(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) callback(error, []);
      else if (addresses.some(({ address }) => leadsBack(address, target.port, own)))
        callback(new LoopError(target), []);
      else if (options.all === true) callback(null, addresses);
      else callback(null, addresses[0]?.address ?? "", addresses[0]?.family);
    });
  };
  if (isIP(target.host) !== 0 && leadsBack(target.host, target.port, own)) {
    const refusal = setImmediate(() => onFailed(new LoopError(target)));
    return () => clearImmediate(refusal);
  }
  const leader = connect({
    ...{ host: target.host, port: target.port, lookup: guarded, allowHalfOpen: true },
    ...{ noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs },
    // Node.js passes these on to the stream, which its types do not say.
    ...{ readableHighWaterMark: bufferBytes, writableHighWaterMark: bufferBytes },
  });
  const failed = (error: Error): void => onFailed(error);
  leader.once("error", failed);
  leader.once("connect", () => {
    leader.off("error", failed);
    onConnected(leader);
  });
  return () => {
    leader.off("error", failed);
    leader.on("error", () => {});
    leader.destroy();
  };
}
