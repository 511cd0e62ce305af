import type { Candidacy } from "../concurrency/candidacy.ts";
import type { Candidate, Line } from "../concurrency/line.ts";
import { leaseName } from "../concurrency/naming.ts";
import type { Cause } from "../errors.ts";
import type { HealthCandidate, HealthReport } from "../health/report.ts";
import { version } from "../version.ts";
import type { MemberChange } from "./changes.ts";

const unconfirmed = "etcd has not confirmed the line in time";

/** Ends that are kept for people to look at. */
const mostCauses = 10;

/** Why terms and candidacies ended lately, the newest first. */
export class Ends {
  readonly #ends: { readonly cause: Cause; readonly time: string }[] = [];

  add(cause: Cause, time: string): void {
    this.#ends.unshift({ cause, time });
    this.#ends.length = Math.min(this.#ends.length, mostCauses);
  }

  get list(): HealthReport["status"]["causes"] {
    return [...this.#ends];
  }
}

export interface Reported {
  readonly election: string;
  readonly id: string;
  readonly now: number;
  readonly state: MemberChange;
  readonly leaving: boolean;
  readonly candidacy: Candidacy | undefined;
  readonly line: Line;
  readonly candidates: readonly Candidate[];
  readonly ttlMs: number;
  readonly ends: Ends;
  /** Whether the member takes no key. */
  readonly witness: boolean;
  /** Why the service is not well. */
  readonly unfit: string | undefined;
}

/** How a member is, with the time for which that is proven. */
export function healthReport(of: Reported): HealthReport {
  const { election, id, state, leaving, candidacy, ttlMs } = of;
  const { role, phase, position, leader, term, cause } = state;
  const session = candidacy?.endCause === undefined ? candidacy?.session : undefined;
  const termRemainingMs = term?.remainingMs ?? 0;
  const leaseRemainingMs = session?.remainingMs ?? 0;
  const trouble = troubleOf(of, leaseRemainingMs);
  return {
    role,
    well: trouble === undefined,
    reason: trouble,
    provenForMs: provenForMs(of, termRemainingMs, leaseRemainingMs),
    status: {
      ...{ election, id, role, phase, leaving, ttlMs, termRemainingMs, leaseRemainingMs },
      position: position ?? null,
      leader: leader === undefined ? null : shown(leader),
      token: term === undefined ? null : Number(term.token),
      leaseId: session === undefined ? null : leaseName(session.leaseId),
      line: of.candidates.map(shown),
      cause: cause ?? null,
      causes: of.ends.list,
      versions: { succession: version, node: process.version },
    },
  };
}

function provenForMs(of: Reported, termRemainingMs: number, leaseRemainingMs: number): number {
  if (of.state.role === "leader") return termRemainingMs;
  return of.witness ? trustedForMs(of) : Math.min(leaseRemainingMs, trustedForMs(of));
}

/** Why the member is not in working order. */
function troubleOf(of: Reported, leaseRemainingMs: number): string | undefined {
  const { phase, role, cause } = of.state;
  const why = cause === undefined ? "" : `: ${cause}`;
  if (of.leaving) return "leaving the election";
  if (of.unfit !== undefined) return `unhealthy: ${of.unfit}`;
  if (phase === "demoting") return `stepping down${why}`;
  if (of.witness) return trustedForMs(of) > 0 ? undefined : unconfirmed;
  if (phase === "outside") return `not in the line of succession${why}`;
  if (role === "leader") return undefined;
  if (leaseRemainingMs <= 0) return "the lease was not renewed in time";
  if (trustedForMs(of) <= 0) return unconfirmed;
  return undefined;
}

/** How long the leader shown may still be taken for the leader. */
function trustedForMs({ line, now }: Reported): number {
  return line.synced ? line.trustMs - (now - line.confirmedAt) : 0;
}

function shown({ id, token, leaseId }: Candidate): HealthCandidate {
  return { id, token: Number(token), leaseId: leaseName(leaseId) };
}
