import type { CheckedHealth, HealthCheck } from "./options.ts";
import type { HealthReport } from "./report.ts";

/** What is sent back, before HTTP. */
export interface HealthAnswer {
  readonly status: number;
  readonly body: object;
}

/** Why there is no report: who could give one does not answer. */
export interface NoReport {
  readonly reason: string;
}

/** Whether the member's own loops keep time. */
export interface Pulse {
  /** By how much the last sign of life is overdue. */
  readonly lateMs: number;
  /** From which lateness on the process counts as dead. */
  readonly limitMs: number;
}

/** The answer of `/live`, which is nobody's but the process's own: an outage of etcd is no reason to restart it. */
export function liveAnswer({ lateMs, limitMs }: Pulse, codes: CheckedHealth["codes"]): HealthAnswer {
  const late = Math.max(0, Math.round(lateMs));
  return lateMs <= limitMs
    ? { status: codes.live.yes, body: { ok: true, lateMs: late } }
    : {
        status: codes.live.no,
        body: { ok: false, reason: "the event loop is blocked", lateMs: late },
      };
}

/** The answer of a check that depends on the member's state. */
export function checkAnswer(
  check: Exclude<HealthCheck, "live">,
  report: HealthReport | NoReport,
  codes: CheckedHealth["codes"],
): HealthAnswer {
  if (!("role" in report)) return { status: codes[check].no, body: { ok: false, reason: report.reason } };
  const { role, well, status } = report;
  const yes = { leader: role === "leader", standby: role === "standby" && well, health: well };
  const ok = yes[check === "primary" ? "leader" : check];
  const leader = status.leader?.id ?? null;
  const reason = ok ? undefined : (report.reason ?? otherRole(check, leader));
  const body = { ok, role, phase: status.phase, leader, ...(reason === undefined ? {} : { reason }) };
  return { status: ok ? codes[check].yes : codes[check].no, body };
}

/** The answer of `/status`: for people and programs, so it is an answer whatever it says. */
export function statusAnswer(report: HealthReport | NoReport): HealthAnswer {
  if (!("role" in report)) return { status: 503, body: { reason: report.reason } };
  const { well, reason = null, status } = report;
  return { status: 200, body: { ...status, well, reason } };
}

function otherRole(check: HealthCheck, leader: string | null): string {
  if (check === "standby") return "this member leads";
  return leader === null ? "nobody is known to lead" : `${leader} leads`;
}
