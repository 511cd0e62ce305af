import type { Answer, CallOptions, Etcd } from "../etcd/etcd.ts";
import { EtcdError, isLeaseGone } from "../etcd/failure.ts";
import { KV, type TxnResponse } from "../etcd/gen/etcd_pb.ts";
import { LinkedSignal } from "../etcd/linked-signal.ts";
import { byCreation, type Compare, created, deleteOp, type Op, putOp, rangeOp } from "../etcd/ops.ts";
import { backoffMs, sleep } from "../waiting.ts";
import type { Place } from "./place.ts";
import { assertAlive, type Session } from "./session.ts";

/**
 * Sends the transaction that puts the key until it is answered. Not left to the client to repeat, for after a lost answer
 * the place must look out for what a late request may put.
 */
export async function putKey(
  session: Session,
  place: Place,
  value: Uint8Array,
  options: CallOptions,
): Promise<Answer<TxnResponse>> {
  const { etcd, leaseId } = session;
  const { timeoutMs = 10_000 } = options;
  const range = rangeOp(byCreation(`${place.election}/`));
  const request = {
    compare: [created(place.key, 0n)],
    success: [putOp(place.key, value, leaseId), range],
    failure: [range],
  };
  const limit = etcd.clock.now() + timeoutMs;
  return await whileAlive(session, options.signal, async (signal) => {
    for (let failures = 1; ; failures++) {
      try {
        const left = limit - etcd.clock.now();
        const limits = { ...session.attemptLimits, timeoutMs: left, signal };
        return await etcd.call(KV.method.txn, request, { ...limits, idempotent: false });
      } catch (error) {
        if (!(error instanceof EtcdError) || error.mayHaveApplied) place.answerLost();
        const again = error instanceof EtcdError && error.code === "ETCD_UNAVAILABLE";
        if (!again || etcd.clock.now() >= limit) throw error;
      }
      // Every endpoint has its turn before the first pause.
      const round = Math.floor(failures / etcd.endpoints.length);
      if (round > 0) await sleep(etcd.clock, backoffMs(etcd.clock, round), signal);
    }
  });
}

/** Runs a request that makes sense only while the session lives; its signal aborts with the given one or the session's. */
export async function whileAlive<T>(
  session: Session,
  given: AbortSignal | undefined,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  assertAlive(session);
  const over = new LinkedSignal(given, session.signal);
  try {
    const answer = await request(over.signal);
    assertAlive(session);
    return answer;
  } catch (error) {
    if (isLeaseGone(error)) session.end("lease-gone");
    session.signal.throwIfAborted();
    throw error;
  } finally {
    over.release();
  }
}

/** What goes along with the deletion of a key. */
export interface Parting {
  /** Put in the same transaction, unless etcd does not take it: the key must go all the same. */
  readonly mark?: Op | undefined;
  /** Holds while the candidate stands for whom the key is given up. Where it has gone, the key goes alone. */
  readonly successor?: Compare | undefined;
}

/** Deletes a key, guarded by its create revision, so that a late request cannot hit a newer one. */
export async function deleteKey(
  etcd: Etcd,
  key: string,
  token: bigint,
  options: CallOptions,
  { mark, successor }: Parting = {},
): Promise<void> {
  const compare = [created(key, token)];
  if (successor !== undefined) {
    if (await deleteIf(etcd, [...compare, successor], key, options, mark)) return;
    // Or an earlier try has done it, and its answer was lost: then there is nothing left to delete.
    if (await deleteIf(etcd, compare, key, options, mark)) {
      etcd.logger.warn({ key }, "the candidate to hand over to has gone: the next in line leads");
    }
    return;
  }
  await deleteIf(etcd, compare, key, options, mark);
}

/** Resolves to whether the comparisons held. */
async function deleteIf(
  etcd: Etcd,
  compare: readonly Compare[],
  key: string,
  options: CallOptions,
  mark: Op | undefined,
): Promise<boolean> {
  const limits = { ...options, idempotent: true };
  const success = [deleteOp(key)];
  if (mark !== undefined) {
    const { timeoutMs = Number.POSITIVE_INFINITY, attemptTimeoutMs = etcd.attemptTimeoutMs } = limits;
    // A full store is told as trouble that may pass; deletions go on there, so the mark gets no more than its share.
    const briefly = { ...limits, timeoutMs: Math.min(timeoutMs / 2, attemptTimeoutMs) };
    try {
      const request = { compare: [...compare], success: [...success, mark] };
      return (await etcd.call(KV.method.txn, request, briefly)).response.succeeded;
    } catch (error) {
      if (!refusesPuts(error)) throw error;
      etcd.logger.warn({ error, key }, "etcd refuses a release mark: the successor will wait");
    }
  }
  return (await etcd.call(KV.method.txn, { compare: [...compare], success }, limits)).response.succeeded;
}

/** Whether it is the mark that etcd does not take: there is no right to it, or no space left. */
function refusesPuts(error: unknown): boolean {
  if (!(error instanceof EtcdError)) return false;
  return (
    error.code === "PERMISSION_DENIED" ||
    error.code === "ETCD_REFUSED" ||
    /space exceeded/.test(error.message)
  );
}
