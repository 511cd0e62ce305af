import { backoffMs, sleep } from "../waiting.ts";
import { classify, EtcdError, etcdError } from "./failure.ts";
import { KV } from "./gen/etcd_pb.ts";
import { LinkedSignal } from "./linked-signal.ts";
import type { Peer } from "./pool.ts";
import { checkMs, type Requests, unary } from "./requests.ts";

/** How long `Etcd.ready` waits. */
export interface ReadyOptions {
  /** Milliseconds. @defaultValue 10000 */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Waits until some endpoint answers a linearizable read, and makes it the one to use. */
export async function ready(requests: Requests, options: ReadyOptions = {}): Promise<void> {
  const { pool, clock, closedSignal } = requests;
  const { timeoutMs = 10_000, signal } = options;
  checkMs("timeoutMs", timeoutMs);
  const over = new LinkedSignal(signal, closedSignal);
  const cancelTimer = clock.at(clock.now() + timeoutMs, () =>
    over.abort(requests.unavailable("ready", timeoutMs, false)),
  );
  // All endpoints at once: one that hangs must not use up the time of one that works.
  const probes = pool.peers.map((peer) =>
    probe(requests, peer, over.signal).catch((error: unknown) => {
      over.abort(error);
      throw error;
    }),
  );
  try {
    pool.prefer(await Promise.any(probes));
  } catch {
    // Every probe ended for the one reason that the first had.
    throw over.signal.reason;
  } finally {
    cancelTimer();
    over.abort(new Error("another endpoint answered"));
    over.release();
    await Promise.allSettled(probes);
  }
}

/** Asks one endpoint until it answers. Rejects with what no repetition can help, or the signal's reason. */
async function probe(requests: Requests, peer: Peer, signal: AbortSignal): Promise<Peer> {
  const { authentication, clock, pool } = requests;
  // The first key that can exist: also a user with few rights may be refused it, which is an answer, too.
  const question = unary(KV.method.range, { key: Uint8Array.of(0), countOnly: true });
  for (let failures = 1; ; failures++) {
    const { token } = authentication;
    const outcome = await requests.attempt(peer, question, { signal });
    if (outcome.at === "answered") return peer;
    const { status } = outcome;
    peer.lastFailure = status;
    const { remedy, code } = classify(status);
    if (code === "PERMISSION_DENIED") return peer;
    if (remedy === "authenticate") {
      if (!authentication.hasUser) throw etcdError(status, "ready", peer.endpoint.name);
      authentication.refused(token);
      // This endpoint answers, so it is the one to ask for a token.
      pool.prefer(peer);
      try {
        await authentication.authorize(signal);
      } catch (error) {
        if (!(error instanceof EtcdError) || error.code !== "ETCD_UNAVAILABLE") throw error;
      }
      if (failures === 1) continue;
    }
    await sleep(clock, backoffMs(clock, failures), signal);
  }
}
