import type { MessageInitShape } from "@bufbuild/protobuf";
import { badOption } from "../errors.ts";
import { type Bytes, type KeyRangeOptions, keyRange, prefixEnd, toBytes } from "./bytes.ts";
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  type CompareSchema,
  type KeyValue,
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
  type RangeRequestSchema,
  type RequestOpSchema,
  type ResponseOp,
} from "./gen/etcd_pb.ts";

/** A comparison in a transaction. */
export type Compare = MessageInitShape<typeof CompareSchema>;
/** An operation in a transaction. */
export type Op = MessageInitShape<typeof RequestOpSchema>;
/** A transaction: `success` is done if every comparison holds, `failure` if not. */
export interface TxnRequest {
  readonly compare?: readonly Compare[];
  readonly success?: readonly Op[];
  readonly failure?: readonly Op[];
}

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

/** Holds while the key was last changed at `revision`; 0 while there is no such key. */
export function modified(key: Bytes, revision: bigint): Compare {
  return {
    result: Compare_CompareResult.EQUAL,
    target: Compare_CompareTarget.MOD,
    key: toBytes(key),
    targetUnion: { case: "modRevision", value: revision },
  };
}

/** Puts a key, in a transaction. */
export function putOp(key: Bytes, value: Bytes, lease: bigint = 0n): Op {
  return { request: { case: "requestPut", value: { key: toBytes(key), value: toBytes(value), lease } } };
}

/** Deletes a key, in a transaction. */
export function deleteOp(key: Bytes): Op {
  return { request: { case: "requestDeleteRange", value: { key: toBytes(key) } } };
}

export function rangeOp(range: Range): Op {
  return { request: { case: "requestRange", value: range } };
}

/** Reads a key or a range, in a transaction. */
export function getOp(key: Bytes, options: KeyRangeOptions = {}): Op {
  return rangeOp(keyRange(key, options));
}

/** What a range in a transaction found. */
export function kvsOf(op: ResponseOp | undefined): readonly KeyValue[] {
  return op?.response.case === "responseRange" ? op.response.value.kvs : [];
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

/** An order of keys; `create` and `mod` are the revisions at which a key was created and last changed. */
export interface RangeSort {
  readonly by: "key" | "version" | "create" | "mod" | "value";
  /** @defaultValue "ascend" */
  readonly order?: "ascend" | "descend";
}

const sortTargets = {
  key: RangeRequest_SortTarget.KEY,
  version: RangeRequest_SortTarget.VERSION,
  create: RangeRequest_SortTarget.CREATE,
  mod: RangeRequest_SortTarget.MOD,
  value: RangeRequest_SortTarget.VALUE,
} as const;

/** The fields of a range request for an order. */
export function rangeSort({ by, order = "ascend" }: RangeSort): Pick<Range, "sortOrder" | "sortTarget"> {
  const sortTarget = sortTargets[by];
  if (sortTarget === undefined) throw badOption("sort.by", Object.keys(sortTargets).join(", "), by);
  if (order !== "ascend" && order !== "descend")
    throw badOption("sort.order", '"ascend" or "descend"', order);
  return {
    sortTarget,
    sortOrder: order === "ascend" ? RangeRequest_SortOrder.ASCEND : RangeRequest_SortOrder.DESCEND,
  };
}
