import type { Candidate } from "../concurrency/line.ts";
import type { Cause } from "../errors.ts";
import type { HandoverRequest } from "../steering/request.ts";

/** What a member knows when it decides whether to change who leads, or who comes next. */
export interface Situation {
  /** The line of succession, the leader first. */
  readonly line: readonly Candidate[];
  /** The own candidate's token. */
  readonly token: bigint;
  /** Whether the own term stands. */
  readonly leads: boolean;
  readonly priority: number;
  readonly priorityOf: (candidate: Candidate) => number;
  readonly paused: boolean;
  readonly request: HandoverRequest | undefined;
  /** Why the service is not well. */
  readonly trouble: string | undefined;
  readonly switchBackAfterMs: number | undefined;
  /** For how long a candidate has been seen in line. */
  readonly standingMs: (candidate: Candidate) => number;
}

export type Step =
  | { readonly at: "none" }
  /** Somebody stands who will be due after so long. */
  | { readonly at: "wait"; readonly ms: number }
  | {
      readonly at: "hand-over";
      readonly why: "request" | "unhealthy" | "switch-back";
      readonly request?: HandoverRequest;
      readonly to?: string;
      readonly cause: Extract<Cause, "handover" | "unhealthy">;
    }
  /** The first in waiting makes room, for a candidate of higher priority waits behind it. */
  | { readonly at: "step-behind"; readonly before: Candidate };

const none: Step = { at: "none" };

/** What to do, if anything. Pure: doing it is a transaction that compares all this once more. */
export function steeringStep(of: Situation): Step {
  const { line, token, leads, paused, request, trouble } = of;
  if (leads && request?.token === token && request.answer === undefined) {
    const named = request.to === undefined ? {} : { to: request.to };
    return { at: "hand-over", why: "request", request, ...named, cause: "handover" };
  }
  if (paused) return none;
  const at = line.findIndex((each) => each.token === token);
  const behind = at < 0 ? [] : line.slice(at + 1);
  if (leads) {
    if (trouble !== undefined && behind.length > 0) {
      return { at: "hand-over", why: "unhealthy", cause: "unhealthy" };
    }
    return trouble === undefined ? switchBack(of, behind) : none;
  }
  const higher = at === 1 ? highest(of, behind) : undefined;
  return higher === undefined ? none : { at: "step-behind", before: higher };
}

function switchBack(of: Situation, behind: readonly Candidate[]): Step {
  const { switchBackAfterMs, standingMs } = of;
  const higher = switchBackAfterMs === undefined ? undefined : highest(of, behind);
  if (switchBackAfterMs === undefined || higher === undefined) return none;
  const ms = switchBackAfterMs - standingMs(higher);
  if (ms > 0) return { at: "wait", ms };
  return { at: "hand-over", why: "switch-back", to: higher.key, cause: "handover" };
}

/** The candidate of the highest priority above the own one; of several the first, for equals never change places. */
function highest({ priority, priorityOf }: Situation, among: readonly Candidate[]): Candidate | undefined {
  let best: Candidate | undefined;
  let most = priority;
  for (const each of among) {
    const its = priorityOf(each);
    if (its <= most) continue;
    best = each;
    most = its;
  }
  return best;
}
