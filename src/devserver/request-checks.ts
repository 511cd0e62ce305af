import {
  RangeRequest_SortOrder as Order,
  type PutRequest,
  type RangeRequest,
  type RequestOp,
  RangeRequest_SortTarget as Target,
  type TxnRequest,
} from "../etcd/gen/etcd_pb.ts";
import { contains, type KeyRange, type KeyText, keyRange, keyText } from "./key-range.ts";
import { refusals } from "./status-error.ts";

/** etcd's default of `--max-txn-ops`. */
const maxTxnOps = 128;

/** What etcd refuses by looking at the request alone, before the store is asked. */
export function checkRange(request: RangeRequest): void {
  checkKey(request.key);
  const orders: readonly number[] = Object.values(Order);
  const targets: readonly number[] = Object.values(Target);
  if (!orders.includes(request.sortOrder) || !targets.includes(request.sortTarget)) {
    throw refusals.invalidSortOption();
  }
}

export function checkPut(request: PutRequest): void {
  checkKey(request.key);
  if (request.ignoreValue && request.value.length > 0) throw refusals.valueProvided();
  if (request.ignoreLease && request.lease !== 0n) throw refusals.leaseProvided();
}

export function checkKey(key: Uint8Array): void {
  if (key.length === 0) throw refusals.emptyKey();
}

export function checkTxn(request: TxnRequest): void {
  checkOps(request, maxTxnOps);
  checkDuplicates(request.success);
  checkDuplicates(request.failure);
}

/** The limit holds for a path through nested transactions: a level takes the longest of its lists from it. */
function checkOps(request: TxnRequest, limit: number): void {
  const ops = Math.max(request.compare.length, request.success.length, request.failure.length);
  if (ops > limit) throw refusals.tooManyOps();
  for (const compare of request.compare) checkKey(compare.key);
  for (const op of [...request.success, ...request.failure]) checkOp(op, limit - ops);
}

function checkOp({ request }: RequestOp, limit: number): void {
  if (request.case === "requestRange") checkRange(request.value);
  else if (request.case === "requestPut") checkPut(request.value);
  else if (request.case === "requestDeleteRange") checkKey(request.value.key);
  else if (request.case === "requestTxn") checkOps(request.value, limit);
  else throw refusals.keyNotFound();
}

interface Written {
  readonly puts: Set<KeyText>;
  readonly deletes: KeyRange[];
}

/** No key may be put twice, or put and deleted; the two branches of a nested transaction exclude each other. */
function checkDuplicates(ops: readonly RequestOp[]): Written {
  const puts = new Set<KeyText>();
  const deletes = ops.flatMap(({ request }) => {
    if (request.case !== "requestDeleteRange") return [];
    // Here alone etcd takes the end "\0" as a plain key, which makes an empty range.
    const end = request.value.rangeEnd;
    return [
      end.length === 0
        ? keyRange(request.value.key, end)
        : { from: keyText(request.value.key), to: keyText(end) },
    ];
  });
  const put = (key: KeyText, twiceAllowed?: Set<KeyText>): void => {
    if (puts.has(key) && twiceAllowed?.has(key) !== true) throw refusals.duplicateKey();
    if (deletes.some((range) => contains(range, key))) throw refusals.duplicateKey();
    puts.add(key);
  };
  for (const { request } of ops) {
    if (request.case !== "requestTxn") continue;
    const success = checkDuplicates(request.value.success);
    const failure = checkDuplicates(request.value.failure);
    for (const key of success.puts) put(key);
    for (const key of failure.puts) put(key, success.puts);
    deletes.push(...success.deletes, ...failure.deletes);
  }
  for (const { request } of ops) {
    if (request.case === "requestPut") put(keyText(request.value.key));
  }
  return { puts, deletes };
}
