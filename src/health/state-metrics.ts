import type { Metric } from "../metric.ts";
import type { HealthReport, HealthStatus } from "./report.ts";

/** What of a report is measured. */
export interface MeasuredState extends Pick<HealthReport, "role"> {
  readonly status: Pick<
    HealthStatus,
    "election" | "id" | "token" | "leaseRemainingMs" | "phase" | "position"
  >;
}

/** What of the metrics is true for a moment only, and so is computed from a report at the moment of answering. */
export function stateMetrics({ role, status }: MeasuredState): readonly Metric[] {
  const { election, id, token, leaseRemainingMs, phase } = status;
  const labels = { election, id };
  const position = status.position ?? (role === "leader" || phase === "promoting" ? 0 : undefined);
  return [
    {
      name: "succession_is_leader",
      help: "1 while it is proven that this member leads, else 0.",
      type: "gauge",
      samples: [{ labels, value: role === "leader" ? 1 : 0 }],
    },
    {
      name: "succession_term_token",
      help: "The fencing token of this member's own term; 0 while it does not lead.",
      type: "gauge",
      samples: [{ labels, value: token ?? 0 }],
    },
    {
      name: "succession_lease_remaining_seconds",
      help: "For how long this member's lease is still proven to live.",
      type: "gauge",
      samples: [{ labels, value: leaseRemainingMs / 1_000 }],
    },
    {
      name: "succession_line_position",
      help: "How many candidates stand before this member: 0 for the leader. Absent while it stands in no line.",
      type: "gauge",
      samples: position === undefined ? [] : [{ labels, value: position }],
    },
  ];
}
