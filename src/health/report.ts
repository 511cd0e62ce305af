/** What a member says of itself when it is asked. */
export interface HealthReport {
  readonly role: "leader" | "standby";
  /** Whether the member is in working order in its role. */
  readonly well: boolean;
  /** Why it is not, or what it waits for. */
  readonly reason: string | undefined;
  /** Milliseconds from the question on for which the role and `well` are proven. */
  readonly provenForMs: number;
  /** What `/status` shows. */
  readonly status: HealthStatus;
}

/** What `/status` shows: tokens are numbers, lease ids hex strings, durations milliseconds. */
export interface HealthStatus {
  readonly election: string;
  readonly id: string;
  readonly role: "leader" | "standby";
  readonly phase: string;
  /** Whether the member is about to leave, or has left. */
  readonly leaving: boolean;
  /** How many candidates stand before this one, while it waits. */
  readonly position: number | null;
  readonly leader: HealthCandidate | null;
  /** The fencing token of the own term. */
  readonly token: number | null;
  readonly termRemainingMs: number;
  readonly leaseId: string | null;
  readonly leaseRemainingMs: number;
  readonly ttlMs: number;
  /** The line of succession, the leader first. */
  readonly line: readonly HealthCandidate[];
  /** Why the last term or candidacy ended, until the next candidacy begins. */
  readonly cause: string | null;
  /** The latest ends, the newest first. */
  readonly causes: readonly { readonly cause: string; readonly time: string }[];
  readonly versions: { readonly succession: string; readonly node: string };
}

export interface HealthCandidate {
  readonly id: string;
  readonly token: number;
  readonly leaseId: string;
}

/** A report that is looked at so many milliseconds after it was asked for: what has run out is not said any more. */
export function aged(report: HealthReport, ageMs: number): HealthReport {
  if (ageMs >= report.provenForMs) return unproven(report, ageMs, "what was proven has run out");
  const { status } = report;
  const leaseRemainingMs = left(status.leaseRemainingMs, ageMs);
  const termRemainingMs = left(status.termRemainingMs, ageMs);
  return { ...report, status: { ...status, leaseRemainingMs, termRemainingMs } };
}

/** What is left of a report by which nobody may act any more. */
export function unproven(report: HealthReport, ageMs: number, reason: string): HealthReport {
  const { status } = report;
  const leaseRemainingMs = left(status.leaseRemainingMs, ageMs);
  return {
    role: "standby",
    well: false,
    reason: report.reason ?? reason,
    provenForMs: 0,
    status: { ...status, role: "standby", token: null, leaseRemainingMs, termRemainingMs: 0 },
  };
}

function left(ms: number, ageMs: number): number {
  return Math.max(0, Math.round(ms - ageMs));
}
