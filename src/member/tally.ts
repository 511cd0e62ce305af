import { type Cause, causes } from "../errors.ts";
import { Histogram } from "../histogram.ts";
import type { Metric, MetricLabels } from "../metric.ts";
import type { RoleChangeCause } from "./diagnostics.ts";
import { Vacancy } from "./vacancy.ts";

/** Seconds, from a change of leader that nobody notices to one that somebody is called for. */
const failoverBounds = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
/** Seconds, from one machine to the other side of the world. */
const keepaliveBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

/** What has been counted and timed so far: of one member, or of all that one process was, one after the other. */
export class Tally {
  // From the beginning, for a rate knows nothing of what a series was before its first sample.
  readonly #roleChanges: Map<RoleChangeCause, number> = new Map(
    (["elected", ...causes] as const).map((cause) => [cause, 0]),
  );
  readonly #failover = new Histogram(failoverBounds);
  readonly #keepalive = new Histogram(keepaliveBounds);
  readonly #vacancy = new Vacancy();

  renewed(roundTripMs: number): void {
    this.#keepalive.observe(roundTripMs / 1_000);
  }

  /** The line shows this candidate first, or nobody. */
  saw(leader: bigint | undefined, now: number): void {
    this.#vacancy.saw(leader, now);
  }

  /** A term begins. Returns for how long nobody had led, where that is known. */
  began(now: number): number | undefined {
    const failoverMs = this.#vacancy.lengthMs(now);
    if (failoverMs !== undefined) this.#failover.observe(failoverMs / 1_000);
    this.#count("elected");
    return failoverMs;
  }

  /** The term with this token has ended. */
  ended(token: bigint, cause: Cause, now: number): void {
    this.#vacancy.ended(token, now);
    this.#count(cause);
  }

  metrics(labels: MetricLabels): readonly Metric[] {
    return [
      {
        name: "succession_role_changes_total",
        help: 'Changes of role: cause "elected" for those to leader, else why the term ended.',
        type: "counter",
        samples: [...this.#roleChanges].map(([cause, value]) => ({ labels: { ...labels, cause }, value })),
      },
      {
        name: "succession_failover_seconds",
        help: "From the end of the last term to the start of the next, measured by its leader.",
        type: "histogram",
        samples: this.#failover.samples(labels),
      },
      {
        name: "succession_keepalive_seconds",
        help: "Round trips of the lease's renewals.",
        type: "histogram",
        samples: this.#keepalive.samples(labels),
      },
    ];
  }

  #count(cause: RoleChangeCause): void {
    this.#roleChanges.set(cause, (this.#roleChanges.get(cause) ?? 0) + 1);
  }
}
