import type { Candidate } from "../concurrency/line.ts";
import { Session } from "../concurrency/session.ts";
import { badOption, SuccessionError } from "../errors.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { LinkedSignal } from "../etcd/linked-signal.ts";
import { created, deleteOp, getOp, kvsOf, modified, putOp } from "../etcd/ops.ts";
import { onAbort } from "../waiting.ts";
import { handoverKey, pauseKey } from "./names.ts";
import { checkSteering, checkText, type SteeringOptions } from "./options.ts";
import { type Asked, outcome } from "./outcome.ts";
import { handoverPlan } from "./plan.ts";
import { RefusedError, refused } from "./refusal.ts";
import { requestIn, requestValue } from "./request.ts";
import { comesBack, survey } from "./survey.ts";

export interface HandoverOptions extends SteeringOptions {
  /** The id or the key of the candidate that is to lead. @defaultValue the next in line */
  readonly to?: string;
  /** Who asks, for everybody who looks. */
  readonly by?: string;
  /** The token of the term that is meant to end: refused where another one leads by now. @defaultValue whoever leads */
  readonly token?: bigint;
}

/** What came of a handover. */
export interface Handover {
  /** Who led. */
  readonly from: Candidate;
  /** Who leads now: where the candidate named went away in the last moment, the next in line. */
  readonly to: Candidate;
  /** The ids of those who were stepped over and went to the end of the line, first in line first. */
  readonly passed: readonly string[];
  /** Whether the leader had agreed. If not, it failed or left before it answered. */
  readonly accepted: boolean;
  /** Milliseconds from the request until the successor's key was the first in line. */
  readonly durationMs: number;
}

/** Who asks and dies leaves his request behind for no longer. */
const requestTtlSeconds = 5;

/**
 * Asks the leader to hand over, and waits until another one leads. The leader first sends to the end of the line whoever
 * stands before the candidate named; then it stops its work, gives its key up and joins again.
 *
 * Rejects with `REFUSED`, and the leader leads on, where: nobody leads, or stands by; the candidate is not in line; the
 * election is paused; another handover is under way; the leader, or somebody who would have to be passed over, is no
 * `Member`. Rejects with `TIMEOUT` where the leader does not answer (the request is then withdrawn) or is not done in
 * time, with `BAD_OPTION`, the signal's reason, or as requests to etcd do.
 */
export async function handover(
  etcd: Etcd,
  election: string,
  options: HandoverOptions = {},
): Promise<Handover> {
  const { to, by, token, metaPrefix, signal, timeoutMs = 30_000 } = options;
  checkSteering(election, options);
  if (to !== undefined && (typeof to !== "string" || to === "")) throw badOption("to", "an id or a key", to);
  if (by !== undefined) checkText("by", by);
  if (token !== undefined && typeof token !== "bigint") throw badOption("token", "a bigint", token);
  signal?.throwIfAborted();
  const { clock } = etcd;
  const startedAt = clock.now();
  const over = new LinkedSignal(signal, etcd.closedSignal);
  const late = new SuccessionError("TIMEOUT", `no handover within ${timeoutMs} ms`);
  const cancel = clock.at(startedAt + timeoutMs, () => over.abort(late));
  const key = handoverKey(election, metaPrefix);
  let session: Session | undefined;
  let asked: Asked | undefined;
  try {
    const limits = { signal: over.signal, timeoutMs };
    session = await Session.open(etcd, { ttlSeconds: requestTtlSeconds, ...limits });
    asked = await ask({ etcd, election, metaPrefix, session, to, by, token, limits });
    const forget = onAbort(session.signal, () => over.abort(session?.signal.reason));
    try {
      const { answer, successor } = await outcome(etcd, election, key, asked, over.signal);
      return {
        ...{ from: asked.leader, to: successor, accepted: answer !== undefined },
        passed: answer?.passed ?? [],
        durationMs: clock.now() - startedAt,
      };
    } finally {
      forget();
    }
  } catch (error) {
    if (error === late && asked !== undefined) throw await lateness(etcd, key, asked, timeoutMs);
    throw error;
  } finally {
    cancel();
    over.release();
    // The request goes with its lease.
    await session?.close();
  }
}

/** Makes the request, bound to the session's lease: one at a time, and only to the leader that it means. */
async function ask(of: {
  readonly etcd: Etcd;
  readonly election: string;
  readonly metaPrefix: string | undefined;
  readonly session: Session;
  readonly to: string | undefined;
  readonly by: string | undefined;
  readonly token: bigint | undefined;
  readonly limits: CallOptions;
}): Promise<Asked> {
  const { etcd, election, metaPrefix, session, to, by, token, limits } = of;
  const key = handoverKey(election, metaPrefix);
  let meant: Candidate | undefined;
  while (true) {
    const seen = await survey(etcd, election, metaPrefix, limits);
    const { request, line } = seen;
    const [leader] = line;
    if (meant !== undefined && request?.leaseId === session.leaseId) {
      return { leader: meant, revision: request.revision };
    }
    if (request !== undefined) {
      const who = request.by === undefined ? "" : `, asked for by ${JSON.stringify(request.by)}`;
      throw new RefusedError(refused("under-way", `another handover is under way${who}`));
    }
    const plan = handoverPlan(seen, token ?? leader?.token ?? 0n, to);
    if (plan.at === "refused") throw new RefusedError(plan);
    if (!comesBack(seen, plan.leader)) {
      const { id } = plan.leader;
      const why = `${JSON.stringify(id)} leads, and cannot be asked: no member of Succession that tells its details`;
      throw new RefusedError(refused("stranger-leads", why));
    }
    meant = plan.leader;
    const requestedAt = etcd.clock.date().toISOString();
    const value = requestValue({ token: meant.token, to, by, requestedAt });
    const attempt = {
      compare: [
        created(key, 0n),
        created(meant.key, meant.token),
        created(pauseKey(election, metaPrefix), 0n),
      ],
      success: [putOp(key, value, session.leaseId)],
    };
    const { response } = await etcd.call(KV.method.txn, attempt, { ...limits, idempotent: true });
    if (response.succeeded) return { leader: meant, revision: response.header?.revision ?? 0n };
    // Something has changed since, or an earlier try has done it: the next look tells.
  }
}

/** Withdraws a request that has not been answered; the error says how it stands. Never rejects. */
async function lateness(
  etcd: Etcd,
  key: string,
  { leader, revision }: Asked,
  timeoutMs: number,
): Promise<SuccessionError> {
  const who = JSON.stringify(leader.id);
  const request = { compare: [modified(key, revision)], success: [deleteOp(key)], failure: [getOp(key)] };
  try {
    const limits = { timeoutMs: withdrawMs, idempotent: true };
    const { response } = await etcd.call(KV.method.txn, request, limits);
    const kv = kvsOf(response.responses[0])[0];
    const accepted = !response.succeeded && kv !== undefined && requestIn(kv).answer?.at === "accepted";
    const message = accepted
      ? `${who} has accepted, and has not been replaced within ${timeoutMs} ms: its work is still stopping`
      : `${who} has not answered within ${timeoutMs} ms, and leads on; the request is withdrawn`;
    return new SuccessionError("TIMEOUT", message);
  } catch (error) {
    const message = `no handover within ${timeoutMs} ms, and etcd does not answer; the request ends within ${requestTtlSeconds} s`;
    return new SuccessionError("TIMEOUT", message, { cause: error });
  }
}

/** How long etcd may take to drop a request. */
const withdrawMs = 2_000;
