import type { Etcd } from "../etcd/etcd.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { followPrefix } from "../etcd/prefix-following.ts";
import { type Meta, metaIn, metaKey, metaOps, type Whose, withEvents } from "./meta.ts";

export interface MetaFollowing {
  readonly whose: Whose;
  readonly mostTerms: number;
  readonly signal: AbortSignal;
  /** Told the present state first, then each change; `undefined` while it may not be read. */
  readonly onMeta: (meta: Meta | undefined) => void;
}

/** Follows what is stored about an election beside its line, until the signal aborts. Never rejects. */
export function followMeta(etcd: Etcd, of: MetaFollowing): Promise<void> {
  const { whose, mostTerms, signal, onMeta } = of;
  let meta: Meta | undefined;
  return followPrefix(etcd, {
    ...{ prefix: metaKey(whose), signal },
    read: async (limits) => {
      const success = [...metaOps(whose, mostTerms)];
      const { response } = await etcd.call(KV.method.txn, { success }, { ...limits, idempotent: true });
      meta = metaIn(response.responses);
      onMeta(meta);
      return response.header?.revision ?? 0n;
    },
    onEvents: (events) => {
      const before = meta;
      if (before === undefined) return;
      meta = withEvents(before, whose, events);
      if (meta !== before) onMeta(meta);
    },
    onDenied: () => onMeta(undefined),
  });
}
