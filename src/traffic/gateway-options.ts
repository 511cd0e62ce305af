import { checkElection } from "../concurrency/naming.ts";
import { badOption } from "../errors.ts";
import type { EtcdOptions } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import { defaultMetaPrefix } from "../member/details.ts";
import { checkConnection, type MemberConnection } from "../member/options.ts";
import { checkTemplate } from "./gateway-target.ts";

export interface GatewaySettings {
  /** The name of the election, such as `/merc`. */
  readonly election: string;
  /** The address to listen on. @defaultValue "127.0.0.1" */
  readonly host?: string;
  /** The port to listen on; 0 for any that is free. */
  readonly port: number;
  /**
   * Where the leader's service is, if that is not the address of its details, or else of its id: `{host}`, `{port}` and
   * `{id}` stand for what is known, as in `{host}:8080`. @defaultValue "{host}:{port}"
   */
  readonly target?: string;
  /**
   * Milliseconds after the sending of the last read that confirmed the leader, until which anything is passed on. It must
   * be below two thirds of the members' TTL: a leader that is cut off together with the gateway has so much left.
   * @defaultValue half of the TTL of the leader's lease, as etcd tells it
   */
  readonly maxStaleMs?: number;
  /** Milliseconds that a new connection waits for a leader that takes it; then it is reset. @defaultValue 30000 */
  readonly holdMs?: number;
  /** How many connections wait at a time; one more is reset. @defaultValue 4096 */
  readonly holdConnections?: number;
  /**
   * Milliseconds that connections have to end by themselves, to a leader that hands over and when the gateway closes.
   * @defaultValue 10000
   */
  readonly drainMs?: number;
  /** Milliseconds that one attempt to connect to the leader may take; the client goes on waiting. @defaultValue 2000 */
  readonly connectMs?: number;
  /** Milliseconds after which a leader that was sent something and has never answered is reported. @defaultValue 10000 */
  readonly silentMs?: number;
  /**
   * Milliseconds after which the connection to such a leader is reset. In some protocols, such as those of logs, a leader
   * never answers. @defaultValue never
   */
  readonly answerMs?: number;
  /** Tells the leader the client's address by a header of the PROXY protocol, version 2. @defaultValue false */
  readonly proxyProtocol?: boolean;
  /** Where the members' details are kept. @defaultValue "_succession/v1/" */
  readonly metaPrefix?: string;
  /** pino's shape. @defaultValue the logger of `etcd`, else silent */
  readonly logger?: Logger;
}

export type GatewayOptions = GatewaySettings & MemberConnection;

/** The settings with every default in place. */
export interface CheckedGateway {
  readonly election: string;
  readonly host: string;
  readonly port: number;
  readonly target: string;
  readonly maxStaleMs: number | undefined;
  readonly holdMs: number;
  readonly holdConnections: number;
  readonly drainMs: number;
  readonly connectMs: number;
  readonly silentMs: number;
  readonly answerMs: number | undefined;
  readonly proxyProtocol: boolean;
  readonly metaPrefix: string;
}

/** Timers take no more. */
const longestMs = 2 ** 31 - 1;

/** Every field of `GatewayOptions`: one that is misspelt must not be passed over in silence. */
const knownFields: Readonly<Record<keyof GatewaySettings | keyof EtcdOptions | "etcd", true>> = {
  ...{ election: true, host: true, port: true, target: true, maxStaleMs: true, holdMs: true },
  ...{
    holdConnections: true,
    drainMs: true,
    connectMs: true,
    silentMs: true,
    answerMs: true,
    proxyProtocol: true,
  },
  ...{ metaPrefix: true, logger: true, etcd: true, endpoints: true, tls: true, user: true, password: true },
  ...{ attemptTimeoutMs: true, clock: true, connect: true },
};

/** Throws `BAD_OPTION` naming the field, the rule and the value. */
export function checkGateway(options: GatewayOptions): CheckedGateway {
  if (typeof options !== "object" || options === null) throw badOption("options", "an object", options);
  checkConnection(options);
  for (const field of Object.keys(options)) {
    if (!Object.hasOwn(knownFields, field)) throw badOption("options", "without unknown fields", field);
  }
  const { election, host = "127.0.0.1", port, target = "{host}:{port}", maxStaleMs } = options;
  const { holdMs = 30_000, holdConnections = 4_096, drainMs = 10_000, connectMs = 2_000 } = options;
  const { silentMs = 10_000, answerMs, proxyProtocol = false, metaPrefix = defaultMetaPrefix } = options;
  checkElection(election);
  if (typeof host !== "string" || host === "") throw badOption("host", "an address of this machine", host);
  checkCount("port", port, 0, 65_535);
  checkTemplate(target);
  if (maxStaleMs !== undefined) checkMs("maxStaleMs", maxStaleMs, 300);
  checkCount("holdConnections", holdConnections, 0, 1_000_000);
  checkMs("holdMs", holdMs, 0);
  checkMs("drainMs", drainMs, 0);
  checkMs("connectMs", connectMs, 1);
  checkMs("silentMs", silentMs, 1);
  if (answerMs !== undefined) checkMs("answerMs", answerMs, 1);
  if (typeof proxyProtocol !== "boolean") throw badOption("proxyProtocol", "a boolean", proxyProtocol);
  if (typeof metaPrefix !== "string") throw badOption("metaPrefix", "text", metaPrefix);
  return {
    ...{ election, host, port, target, maxStaleMs, holdMs, holdConnections, drainMs, connectMs },
    ...{ silentMs, answerMs, proxyProtocol, metaPrefix },
  };
}

function checkCount(field: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw badOption(field, `an integer from ${least} to ${most}`, value);
}

export function checkMs(field: string, ms: number, least: number): void {
  if (typeof ms === "number" && ms >= least && ms <= longestMs) return;
  const most = ms > longestMs ? ` and ${longestMs} at most` : "";
  throw badOption(field, `a number of milliseconds, ${least} or more${most}`, ms);
}
