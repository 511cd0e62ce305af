import { randomUUID } from "node:crypto";
import { type Candidate, Line } from "../concurrency/line.ts";
import { Session } from "../concurrency/session.ts";
import { SuccessionError } from "../errors.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { created, deleteOp, getOp, kvsOf, modified, putOp } from "../etcd/ops.ts";
import { onAbort, unlessAborted } from "../waiting.ts";
import { handoverKey, pauseKey } from "./names.ts";
import { checkSteering, checkText, refusal, type SteeringOptions } from "./options.ts";
import { handoverPlan } from "./plan.ts";
import { type Answer, requestIn, requestValue } from "./request.ts";
import { comesBack, survey } from "./survey.ts";

export interface HandoverOptions extends SteeringOptions {
  /** The id or the key of the candidate that is to lead. @defaultValue the next in line */
  readonly to?: string;
  /** Who asks, for everybody who looks. */
  readonly by?: string;
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
export async function handover(etcd: Etcd, election: string, options: HandoverOptions = {}): Promise<Handover> {
  void [etcd, election, options];
  throw new SuccessionError("REFUSED", "not there yet");
}
