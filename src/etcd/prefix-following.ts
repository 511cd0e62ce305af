import { backoffMs, sleep } from "../waiting.ts";
import type { CallOptions, Etcd } from "./etcd.ts";
import { type EtcdError, isPermissionDenied } from "./failure.ts";
import { LinkedSignal } from "./linked-signal.ts";
import type { WatchEvents } from "./watch.ts";

export interface PrefixFollowing {
  readonly prefix: string;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Reads what is there, and takes it over; resolves with the revision at which it was so. */
  readonly read: (limits: CallOptions) => Promise<bigint>;
  /** Told all of one revision at a time, in order, from the read on. */
  readonly onEvents: (events: WatchEvents) => void;
  /** Told each time that etcd does not let us read it. */
  readonly onDenied: (error: EtcdError) => void;
}

/** A read takes no longer at a time. */
const readMs = 5_000;
/** A watch that is open and says nothing is otherwise never found out. */
const readAgainMs = 60_000;

/**
 * Follows the keys under a prefix by a read and a watch from there on, for whoever is content to know a little later: what
 * fails is tried again, what is not permitted seldom. Never rejects.
 */
export async function followPrefix(etcd: Etcd, following: PrefixFollowing): Promise<void> {
  const { prefix, signal, read, onEvents, onDenied } = following;
  const { clock, logger, closedSignal } = etcd;
  for (let failures = 1; !signal.aborted && !closedSignal.aborted; failures++) {
    const round = new LinkedSignal(signal);
    const cancel = clock.at(clock.now() + readAgainMs, () => round.abort(undefined));
    try {
      const revision = await read({ signal: round.signal, timeoutMs: readMs });
      failures = 0;
      const request = { key: prefix, prefix: true, startRevision: revision + 1n };
      for await (const events of etcd.watch(request, { signal: round.signal })) onEvents(events);
    } catch (error) {
      if (signal.aborted || closedSignal.aborted) return;
      if (round.signal.aborted) continue;
      const denied = isPermissionDenied(error);
      if (denied) onDenied(error);
      else logger.debug({ error, prefix }, "cannot read these keys yet");
      const [firstMs, mostMs] = denied ? [30_000, 60_000] : [100, 5_000];
      await sleep(clock, backoffMs(clock, failures, firstMs, mostMs), signal).catch(() => {});
    } finally {
      cancel();
      round.release();
    }
  }
}
