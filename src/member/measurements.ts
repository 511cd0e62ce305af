import type { Clock } from "../clock.ts";
import type { Line } from "../concurrency/line.ts";
import { type Cause, causes } from "../errors.ts";
import { Histogram } from "../histogram.ts";
import type { Metric, MetricSample } from "../metric.ts";
import { publish, type RoleChangeCause } from "./diagnostics.ts";
import type { EndpointChecks } from "./endpoint-checks.ts";
import type { Member } from "./member.ts";
import type { Phase } from "./phase.ts";
import { Vacancy } from "./vacancy.ts";

/** Seconds, from a change of leader that nobody notices to one that somebody is called for. */
const failoverBounds = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
/** Seconds, from one machine to the other side of the world. */
const keepaliveBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export interface MeasurementsOptions {
  readonly member: Member;
  readonly clock: Clock;
  readonly line: Line;
  readonly endpoints: EndpointChecks;
}

/** Counts and times what happens to a member, and tells it to whoever has subscribed. */
export class Measurements {
  readonly #options: MeasurementsOptions;
  readonly #roleChanges: Map<RoleChangeCause, number>;
  readonly #failover = new Histogram(failoverBounds);
  readonly #keepalive = new Histogram(keepaliveBounds);
  readonly #vacancy = new Vacancy();
  #termBeganAt = 0;

  constructor(options: MeasurementsOptions) {
    this.#options = options;
    // From the beginning, for a rate knows nothing of what a series was before its first sample.
    this.#roleChanges = new Map((["elected", ...causes] as const).map((cause) => [cause, 0]));
  }

  lineChanged(): void {
    const { line, clock } = this.#options;
    if (line.synced) this.#vacancy.saw(line.leader?.token, clock.now());
  }

  renewed(roundTripMs: number): void {
    this.#keepalive.observe(roundTripMs / 1_000);
    publish("succession:keepalive", this.#options.member, { roundTripMs });
  }

  phaseChanged(from: Phase, to: Phase, cause: Cause | undefined): void {
    const { member } = this.#options;
    // The own candidate is told of a change of the line before anybody else is.
    this.lineChanged();
    const { token } = { token: undefined, ...from, ...to };
    publish("succession:phase", member, { from: from.at, to: to.at, token, cause });
    if (to.at === "leading") this.#began(to.token);
    if (from.at === "leading" && cause !== undefined) this.#ended(from.token, cause);
  }

  /** All but what is true for a moment only. */
  get metrics(): readonly Metric[] {
    const { line, endpoints, member } = this.#options;
    const labels = { election: member.election, id: member.id };
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
      {
        name: "succession_endpoint_up",
        help: "Whether an endpoint of etcd answered and knew a raft leader, when these metrics were last asked for.",
        type: "gauge",
        samples: [...endpoints.ask()].map(
          ([endpoint, up]): MetricSample => ({ labels: { ...labels, endpoint }, value: up ? 1 : 0 }),
        ),
      },
      {
        name: "succession_watch_resumes_total",
        help: "How often following the line went on after its watch had broken.",
        type: "counter",
        samples: [{ labels, value: line.watchResumes }],
      },
    ];
  }

  #began(token: bigint): void {
    const { member, clock } = this.#options;
    const now = clock.now();
    const failoverMs = this.#vacancy.lengthMs(now);
    this.#termBeganAt = now;
    if (failoverMs !== undefined) this.#failover.observe(failoverMs / 1_000);
    this.#count("elected");
    publish("succession:role", member, { role: "leader", token, cause: "elected" });
    publish("succession:term:start", member, { token, failoverMs });
  }

  #ended(token: bigint, cause: Cause): void {
    const { member, clock } = this.#options;
    const now = clock.now();
    this.#vacancy.ended(token, now);
    this.#count(cause);
    publish("succession:role", member, { role: "standby", token, cause });
    publish("succession:term:end", member, { token, cause, lengthMs: now - this.#termBeganAt });
  }

  #count(cause: RoleChangeCause): void {
    this.#roleChanges.set(cause, (this.#roleChanges.get(cause) ?? 0) + 1);
  }
}
