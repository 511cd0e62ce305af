import { setMaxListeners } from "node:events";
import type { Etcd } from "../etcd/etcd.ts";
import { LinkedSignal } from "../etcd/linked-signal.ts";

/** How a lease stands. */
export interface LeaseTime {
  /** What is left of it, in whole seconds rounded down, as etcd tells it. */
  readonly remainingMs: number;
  /** What it is renewed to. */
  readonly ttlMs: number;
}

export interface LeaseTimesOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds for all of them together. @defaultValue 2000 */
  readonly timeoutMs?: number;
  /** How many are asked about at a time. @defaultValue 20 */
  readonly atOnce?: number;
}

/**
 * What is left of leases. etcd is asked about each by itself, so not about too many at once, and no longer than
 * `timeoutMs`: those of which it was not learned in time, and those that are gone, are missing. Rejects only with the
 * signal's reason.
 */
export async function leaseTimes(
  etcd: Etcd,
  leaseIds: Iterable<bigint>,
  options: LeaseTimesOptions = {},
): Promise<ReadonlyMap<bigint, LeaseTime>> {
  const { signal, timeoutMs = 2_000, atOnce = 20 } = options;
  signal?.throwIfAborted();
  const waiting = [...new Set(leaseIds)].filter((leaseId) => leaseId !== 0n);
  const times = new Map<bigint, LeaseTime>();
  const until = etcd.clock.now() + timeoutMs;
  const over = new LinkedSignal(signal, etcd.closedSignal);
  // Each question under way listens.
  setMaxListeners(0, over.signal);
  const ask = async (): Promise<void> => {
    for (let leaseId = waiting.shift(); leaseId !== undefined; leaseId = waiting.shift()) {
      const left = until - etcd.clock.now();
      if (left <= 0) return;
      const limits = { timeoutMs: left, signal: over.signal };
      const { TTL, grantedTtl } = await etcd.leaseTimeToLive(leaseId, limits);
      if (TTL >= 0n)
        times.set(leaseId, { remainingMs: Number(TTL) * 1_000, ttlMs: Number(grantedTtl) * 1_000 });
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(atOnce, waiting.length) }, ask));
  } catch (error) {
    signal?.throwIfAborted();
    etcd.logger.debug({ error, missing: waiting.length }, "cannot read what is left of all leases");
    over.abort(error);
  } finally {
    over.release();
  }
  return times;
}
