import { create } from "@bufbuild/protobuf";
import {
  type Compare,
  type DeleteRangeRequest,
  type DeleteRangeResponse,
  DeleteRangeResponseSchema,
  type PutRequest,
  type PutResponse,
  PutResponseSchema,
  type RequestOp,
  ResponseHeaderSchema,
  type ResponseOp,
  ResponseOpSchema,
  Compare_CompareResult as Result,
  Compare_CompareTarget as Target,
  type TxnRequest,
  type TxnResponse,
  TxnResponseSchema,
} from "../etcd/gen/etcd_pb.ts";
import { keyRange, keyText } from "./key-range.ts";
import type { Mvcc, MvccWrite, Version } from "./mvcc.ts";
import { answerRange, checkReadable, keyValue } from "./range-query.ts";
import { refusals } from "./status-error.ts";

/** What a put must know of leases. */
export type LeaseExists = (lease: bigint) => boolean;

/** A transaction whose comparisons, nested ones too, were all evaluated on the state before it, as etcd does. */
interface Plan {
  readonly succeeded: boolean;
  readonly ops: readonly RequestOp[];
  /** The plans of the nested transactions, by their place in `ops`. */
  readonly nested: ReadonlyMap<RequestOp, Plan>;
}

export function planTxn(store: Mvcc, request: TxnRequest): Plan {
  const succeeded = request.compare.every((compare) => holds(store, compare));
  const ops = succeeded ? request.success : request.failure;
  const nested = new Map<RequestOp, Plan>();
  for (const op of ops) {
    if (op.request.case === "requestTxn") nested.set(op, planTxn(store, op.request.value));
  }
  return { succeeded, ops, nested };
}

/** Throws what the operations on the planned path would run into, before the first is carried out. */
export function checkPlan(store: Mvcc, plan: Plan, leaseExists: LeaseExists): void {
  for (const put of opsOf(plan)) {
    if (put.request.case === "requestPut") checkPutTarget(store, put.request.value, leaseExists);
  }
  for (const range of opsOf(plan)) {
    if (range.request.case === "requestRange") checkReadable(store, range.request.value.revision);
  }
}

/** Throws if a put refers to a key or a lease that does not exist. */
export function checkPutTarget(store: Mvcc, request: PutRequest, leaseExists: LeaseExists): void {
  const needsKey = request.ignoreValue || request.ignoreLease;
  if (needsKey && store.get(keyText(request.key), store.revision) === undefined) throw refusals.keyNotFound();
  if (request.lease !== 0n && !leaseExists(request.lease)) throw refusals.leaseNotFound();
}

/** Carries a plan out. Of the headers inside, etcd fills only the revision, and of nested transactions not even that. */
export function applyPlan(store: Mvcc, write: MvccWrite, plan: Plan): TxnResponse {
  const responses = plan.ops.map((op) => applyOp(store, write, plan, op));
  return create(TxnResponseSchema, { succeeded: plan.succeeded, responses });
}

function applyOp(store: Mvcc, write: MvccWrite, plan: Plan, op: RequestOp): ResponseOp {
  const response = answerOp(store, write, plan, op);
  const isTxn = response.case === "responseTxn";
  if (response.value !== undefined) {
    response.value.header = create(ResponseHeaderSchema, isTxn ? {} : { revision: write.revision });
  }
  return create(ResponseOpSchema, { response });
}

function answerOp(store: Mvcc, write: MvccWrite, plan: Plan, op: RequestOp): ResponseOp["response"] {
  const { request } = op;
  switch (request.case) {
    case "requestRange":
      return { case: "responseRange", value: answerRange(store, request.value, write.revision) };
    case "requestPut":
      return { case: "responsePut", value: applyPut(store, write, request.value) };
    case "requestDeleteRange":
      return { case: "responseDeleteRange", value: applyDelete(write, request.value) };
    default:
      return { case: "responseTxn", value: applyPlan(store, write, plan.nested.get(op) as Plan) };
  }
}

export function applyPut(store: Mvcc, write: MvccWrite, request: PutRequest): PutResponse {
  const before = store.get(keyText(request.key), write.revision);
  const value = request.ignoreValue && before !== undefined ? before.value : request.value;
  const lease = request.ignoreLease && before !== undefined ? before.lease : request.lease;
  write.put(request.key, value, lease);
  return create(
    PutResponseSchema,
    request.prevKv && before !== undefined ? { prevKv: keyValue(before) } : {},
  );
}

export function applyDelete(write: MvccWrite, request: DeleteRangeRequest): DeleteRangeResponse {
  const deleted = write.deleteRange(keyRange(request.key, request.rangeEnd));
  const prevKvs = request.prevKv ? deleted.map(({ before }) => keyValue(before as Version)) : [];
  return create(DeleteRangeResponseSchema, { deleted: BigInt(deleted.length), prevKvs });
}

function* opsOf(plan: Plan): Generator<RequestOp> {
  for (const op of plan.ops) {
    const nested = plan.nested.get(op);
    if (nested === undefined) yield op;
    else yield* opsOf(nested);
  }
}

function holds(store: Mvcc, compare: Compare): boolean {
  const versions = store.read(keyRange(compare.key, compare.rangeEnd), store.revision);
  // A missing key has the numbers 0, but no value, not even an empty one.
  if (versions.length === 0) return compare.target !== Target.VALUE && holdsFor(compare, undefined);
  return versions.every((version) => holdsFor(compare, version));
}

function holdsFor(compare: Compare, version: Version | undefined): boolean {
  const order = difference(compare, version);
  switch (compare.result) {
    case Result.EQUAL:
      return order === 0;
    case Result.NOT_EQUAL:
      return order !== 0;
    case Result.GREATER:
      return order > 0;
    case Result.LESS:
      return order < 0;
    default:
      return true;
  }
}

/** The target decides what is compared; a value given for another target counts as 0. */
function difference({ target, targetUnion }: Compare, version: Version | undefined): number {
  const number = (name: typeof targetUnion.case, actual: bigint | undefined): number => {
    const given = targetUnion.case === name && typeof targetUnion.value === "bigint" ? targetUnion.value : 0n;
    return Math.sign(Number((actual ?? 0n) - given));
  };
  switch (target) {
    case Target.VERSION:
      return number("version", version?.version);
    case Target.CREATE:
      return number("createRevision", version?.createRevision);
    case Target.MOD:
      return number("modRevision", version?.modRevision);
    case Target.LEASE:
      return number("lease", version?.lease);
    case Target.VALUE: {
      const given = targetUnion.case === "value" ? targetUnion.value : new Uint8Array(0);
      return Buffer.compare(version?.value ?? new Uint8Array(0), given);
    }
    default:
      return 0;
  }
}
