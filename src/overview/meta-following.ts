import type { Etcd } from "../etcd/etcd.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { LinkedSignal } from "../etcd/linked-signal.ts";
import { backoffMs, sleep } from "../waiting.ts";
import { type Meta, metaIn, metaKey, metaOps, type Whose, withEvents } from "./meta.ts";
import { isRefused } from "./options.ts";

export interface MetaFollowing {
  readonly whose: Whose;
  readonly mostTerms: number;
  readonly signal: AbortSignal;
  /** Told the present state first, then each change; `undefined` while it may not be read. */
  readonly onMeta: (meta: Meta | undefined) => void;
}

/** A read takes no longer at a time. */
const readMs = 5_000;
/** A watch that is open and says nothing is otherwise never found out. */
const readAgainMs = 60_000;

/** Follows what is stored about an election beside its line, by a read and a watch, until the signal aborts. Never rejects. */
export async function followMeta(etcd: Etcd, of: MetaFollowing): Promise<void> {
  const { whose, mostTerms, signal, onMeta } = of;
  const { clock, logger, closedSignal } = etcd;
  const key = metaKey(whose);
  for (let failures = 1; !signal.aborted && !closedSignal.aborted; failures++) {
    const round = new LinkedSignal(signal);
    const cancel = clock.at(clock.now() + readAgainMs, () => round.abort(undefined));
    try {
      const limits = { signal: round.signal, timeoutMs: readMs, idempotent: true };
      const { response } = await etcd.call(
        KV.method.txn,
        { success: [...metaOps(whose, mostTerms)] },
        limits,
      );
      let meta = metaIn(response.responses);
      onMeta(meta);
      failures = 0;
      const startRevision = (response.header?.revision ?? 0n) + 1n;
      for await (const batch of etcd.watch({ key, prefix: true, startRevision }, { signal: round.signal })) {
        const after = withEvents(meta, whose, batch);
        if (after !== meta) onMeta(after);
        meta = after;
      }
    } catch (error) {
      if (signal.aborted || closedSignal.aborted) return;
      if (round.signal.aborted) continue;
      if (isRefused(error)) onMeta(undefined);
      logger.debug({ error, key }, "cannot read what is stored about the election yet");
      const [firstMs, mostMs] = isRefused(error) ? [30_000, 60_000] : [100, 5_000];
      await sleep(clock, backoffMs(clock, failures, firstMs, mostMs), signal).catch(() => {});
    } finally {
      cancel();
      round.release();
    }
  }
}
