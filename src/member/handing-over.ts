import type { Candidacy } from "../concurrency/candidacy.ts";
import type { Candidate } from "../concurrency/line.ts";
import type { Cause } from "../errors.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { accept, answer, type Change, mostPassed, passOver } from "../steering/clearance.ts";
import { handoverPlan } from "../steering/plan.ts";
import { type Refusal, refused } from "../steering/refusal.ts";
import type { HandoverRequest } from "../steering/request.ts";
import { survey } from "../steering/survey.ts";

/** A handover that a leader is to carry out. */
export interface HandingOver {
  readonly etcd: Etcd;
  readonly election: string;
  readonly metaPrefix: string;
  readonly candidacy: Candidacy;
  /** Whose request it is; it is answered. Without one it is the leader's own idea. */
  readonly request?: HandoverRequest;
  /** The id or key of who is to lead; else the next in line. */
  readonly to?: string | undefined;
  /** With what the term ends. */
  readonly cause: Extract<Cause, "handover" | "unhealthy">;
}

export type HandedOver =
  | { readonly at: "done"; readonly target: Candidate; readonly passed: readonly string[] }
  | Refusal;

/** How often it looks anew when something has changed between a look and a step. */
const mostLooks = 8;
/** One step may take so long; until the last one the leader leads on, and may lose its term in between. */
const stepMs = 3_000;

/**
 * Carries a handover out up to the end of the term: looks, sends those who stand before the target to the end of the
 * line, says that it accepts, and gives up the claim. Up to there a refusal costs nothing but places in line. The rest
 * is the end of a term as of any other. Rejects as requests to etcd do, with the term as it was.
 */
export async function handOver(of: HandingOver): Promise<HandedOver> {
  const { etcd, election, metaPrefix, candidacy, request, to, cause } = of;
  const limits: CallOptions = { timeoutMs: stepMs, ...candidacy.session.attemptLimits };
  const around = { etcd, election, metaPrefix, limits };
  const passed: string[] = [];
  const refuse = async (refusal: Refusal): Promise<HandedOver> => {
    if (request !== undefined) await answer(around, request, refusal);
    return refusal;
  };
  for (let look = 0; look < mostLooks; ) {
    const seen = await survey(etcd, election, metaPrefix, limits);
    if (request !== undefined && seen.request?.revision !== request.revision) {
      return { at: "refused", reason: "the request was withdrawn" };
    }
    const plan = handoverPlan(seen, candidacy.token, to);
    if (plan.at === "refused") return await refuse(plan);
    const { leader, target, between } = plan;
    const change: Change = { ...around, leader, target, request };
    // From the back, so that those who come first keep their places if it goes no further.
    const batch = between.slice(-mostPassed);
    if (batch.length > 0) {
      if (await passOver(change, batch, (token) => candidacy.markOf(token))) {
        passed.unshift(...batch.map(({ id }) => id));
      } else look++;
    } else if (await accept(change, passed)) {
      // The term may have ended meanwhile, of itself: then that was the handover.
      candidacy.endFor(target, cause);
      return { at: "done", target, passed };
    } else look++;
  }
  return await refuse(refused("line-changes", "the line of succession changes too fast"));
}
