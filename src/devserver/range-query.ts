import { create } from "@bufbuild/protobuf";
import {
  type KeyValue,
  KeyValueSchema,
  RangeRequest_SortOrder as Order,
  type RangeRequest,
  type RangeResponse,
  RangeResponseSchema,
  RangeRequest_SortTarget as Target,
} from "../etcd/gen/etcd_pb.ts";
import { keyRange, keyText } from "./key-range.ts";
import type { Mvcc, Version } from "./mvcc.ts";
import { refusals } from "./status-error.ts";

/** The message form of a version. */
export function keyValue(version: Version): KeyValue {
  return create(KeyValueSchema, version);
}

/** Throws if `revision` (0 means the current one) cannot be read. */
export function checkReadable(store: Mvcc, revision: bigint, current: bigint = store.revision): void {
  if (revision > current) throw refusals.futureRevision();
  if (revision > 0n && revision < store.compactRevision) throw refusals.compacted();
}

/**
 * Answers a range request, without a header. `current` is the revision that counts as the
 * present one, which within a transaction is that of its own writes.
 */
export function answerRange(
  store: Mvcc,
  request: RangeRequest,
  current: bigint = store.revision,
): RangeResponse {
  checkReadable(store, request.revision, current);
  const all = store.read(
    keyRange(request.key, request.rangeEnd),
    request.revision > 0n ? request.revision : current,
  );
  const count = BigInt(all.length);
  if (request.countOnly) return create(RangeResponseSchema, { count });

  const limit = Number(request.limit);
  const found = sorted(all.slice(0, fetchLimit(request)).filter(withinRevisions(request)), request);
  const more = limit > 0 && found.length > limit;
  const shown = (more ? found.slice(0, limit) : found).map(keyValue);
  if (request.keysOnly) for (const kv of shown) kv.value = new Uint8Array(0);
  return create(RangeResponseSchema, { kvs: shown, more, count });
}

/**
 * How many keys etcd looks at. It cuts before it sorts when a sort target is given without
 * an order, and so must we: one more than asked for, to know whether there are more.
 */
function fetchLimit(request: RangeRequest): number | undefined {
  const everything =
    request.limit <= 0n ||
    request.sortOrder !== Order.NONE ||
    request.minModRevision !== 0n ||
    request.maxModRevision !== 0n ||
    request.minCreateRevision !== 0n ||
    request.maxCreateRevision !== 0n;
  return everything ? undefined : Number(request.limit) + 1;
}

function withinRevisions(request: RangeRequest): (version: Version) => boolean {
  const within = (value: bigint, min: bigint, max: bigint): boolean =>
    (min === 0n || value >= min) && (max === 0n || value <= max);
  return ({ modRevision, createRevision }) =>
    within(modRevision, request.minModRevision, request.maxModRevision) &&
    within(createRevision, request.minCreateRevision, request.maxCreateRevision);
}

const byTarget: Record<number, (a: Version, b: Version) => number> = {
  [Target.KEY]: (a, b) => compareText(keyText(a.key), keyText(b.key)),
  [Target.VERSION]: (a, b) => Number(a.version - b.version),
  [Target.CREATE]: (a, b) => Number(a.createRevision - b.createRevision),
  [Target.MOD]: (a, b) => Number(a.modRevision - b.modRevision),
  [Target.VALUE]: (a, b) => compareText(keyText(a.value), keyText(b.value)),
};

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sorted(versions: Version[], { sortOrder, sortTarget }: RangeRequest): Version[] {
  // They come in key order. Any other target without an order means ascending, as in etcd.
  if (sortTarget === Target.KEY && sortOrder !== Order.DESCEND) return versions;
  const compare = byTarget[sortTarget] as (a: Version, b: Version) => number;
  return versions.sort(sortOrder === Order.DESCEND ? (a, b) => compare(b, a) : compare);
}
