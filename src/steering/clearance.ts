import type { Candidate } from "../concurrency/line.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { type Compare, created, deleteOp, type Op, putOp } from "../etcd/ops.ts";
import { handoverKey, passedKey, pauseKey } from "./names.ts";
import { type Answer, answeredValue, type HandoverRequest } from "./request.ts";

/** etcd takes 128 operations in one transaction, and each candidate that is passed over costs three. */
export const mostPassed = 40;

/** A change of leader that is being carried out. */
export interface Change {
  readonly etcd: Etcd;
  readonly election: string;
  readonly metaPrefix: string | undefined;
  readonly leader: Candidate;
  readonly target: Candidate;
  /** What it answers, if anything; one that was withdrawn is carried out no further. */
  readonly request: HandoverRequest | undefined;
  readonly limits: CallOptions;
}

/**
 * What every step of a chosen change rests on: no pause, the leader and the target stand, nobody withdrew. A late request
 * so never takes a key of which nobody would have the good.
 */
function conditions({ election, metaPrefix, leader, target, request }: Change): Compare[] {
  return [
    created(pauseKey(election, metaPrefix), 0n),
    created(leader.key, leader.token),
    created(target.key, target.token),
    ...(request === undefined ? [] : [created(handoverKey(election, metaPrefix), request.revision)]),
  ];
}

/**
 * Deletes the keys of candidates that stand before the target, so that they come back behind it. A key that was created
 * behind the leader's has never led while that stands: its release mark, where marks are left, says no more than that.
 * Resolves to false, having done nothing, if anything is not as it was.
 */
export async function passOver(
  change: Change,
  candidates: readonly Candidate[],
  markOf: (token: bigint) => Op | undefined,
): Promise<boolean> {
  const { etcd, election, metaPrefix, target, limits } = change;
  const told = JSON.stringify({ for: target.id });
  // etcd takes each key once; the mark of one that shares its place costs a wait.
  const marks = new Map<string, Op>();
  for (const { token } of candidates) {
    const mark = markOf(token);
    if (mark?.request?.case === "requestPut") marks.set(String(mark.request.value.key), mark);
  }
  const request = {
    compare: [...conditions(change), ...candidates.map(({ key, token }) => created(key, token))],
    success: [
      ...candidates.flatMap(({ key, leaseId }) => [
        deleteOp(key),
        putOp(passedKey(election, leaseId, metaPrefix), told, leaseId),
      ]),
      ...marks.values(),
    ],
  };
  const { response } = await etcd.call(KV.method.txn, request, { ...limits, idempotent: true });
  return response.succeeded;
}

/** Accepts: from here on the leader steps down, whatever comes. Resolves to false if anything is not as it was. */
export async function accept(change: Change, passed: readonly string[]): Promise<boolean> {
  const { etcd, request, limits } = change;
  const success = request === undefined ? [] : [answerOp(change, request, { at: "accepted", passed })];
  const txn = { compare: conditions(change), success };
  const { response } = await etcd.call(KV.method.txn, txn, { ...limits, idempotent: true });
  return response.succeeded;
}

/** Answers a request, unless it was withdrawn. */
export async function answer(
  of: Omit<Change, "leader" | "target" | "request">,
  request: HandoverRequest,
  said: Answer,
): Promise<void> {
  const { etcd, election, metaPrefix, limits } = of;
  const compare = [created(handoverKey(election, metaPrefix), request.revision)];
  const txn = { compare, success: [answerOp(of, request, said)] };
  await etcd.call(KV.method.txn, txn, { ...limits, idempotent: true });
}

/** Puts the answer beside the request, on the request's lease. */
function answerOp(
  { election, metaPrefix }: Pick<Change, "election" | "metaPrefix">,
  request: HandoverRequest,
  said: Answer,
): Op {
  return putOp(handoverKey(election, metaPrefix), answeredValue(request, said), request.leaseId);
}
