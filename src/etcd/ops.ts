import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Bytes, prefixEnd, toBytes } from "./bytes.ts";
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  type CompareSchema,
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
  type RangeRequestSchema,
  type RequestOpSchema,
} from "./gen/etcd_pb.ts";

/** A comparison in a transaction. */
export type Compare = MessageInitShape<typeof CompareSchema>;
/** An operation in a transaction. */
export type Op = MessageInitShape<typeof RequestOpSchema>;
type Range = MessageInitShape<typeof RangeRequestSchema>;

/** Holds while the key's create revision is `revision`; 0 while there is no such key. */
export function created(key: Bytes, revision: bigint): Compare {
  return {
    result: Compare_CompareResult.EQUAL,
    target: Compare_CompareTarget.CREATE,
    key: toBytes(key),
    targetUnion: { case: "createRevision", value: revision },
  };
}

export function putOp(key: Bytes, value: Bytes, lease: bigint = 0n): Op {
  return { request: { case: "requestPut", value: { key: toBytes(key), value: toBytes(value), lease } } };
}

export function deleteOp(key: Bytes): Op {
  return { request: { case: "requestDeleteRange", value: { key: toBytes(key) } } };
}

export function rangeOp(range: Range): Op {
  return { request: { case: "requestRange", value: range } };
}

/** Every key under `prefix`, first created first; `limit` 1 gives the leader of an election. */
export function byCreation(prefix: Bytes, limit: number = 0): Range {
  return {
    key: toBytes(prefix),
    rangeEnd: prefixEnd(prefix),
    sortOrder: RangeRequest_SortOrder.ASCEND,
    sortTarget: RangeRequest_SortTarget.CREATE,
    limit: BigInt(limit),
  };
}
