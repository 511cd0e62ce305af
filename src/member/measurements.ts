import type { Clock } from "../clock.ts";
import type { Line } from "../concurrency/line.ts";
import type { Cause } from "../errors.ts";
import type { Metric, MetricSample } from "../metric.ts";
import { publish } from "./diagnostics.ts";
import type { EndpointChecks } from "./endpoint-checks.ts";
import type { Member } from "./member.ts";
import type { Phase } from "./phase.ts";
import type { Tally } from "./tally.ts";

export interface MeasurementsOptions {
  readonly member: Member;
  readonly clock: Clock;
  readonly line: Line;
  readonly endpoints: EndpointChecks;
  readonly tally: Tally;
}

/** Counts and times what happens to a member, and tells it to whoever has subscribed. */
export class Measurements {
  readonly #options: MeasurementsOptions;
  #termBeganAt = 0;

  constructor(options: MeasurementsOptions) {
    this.#options = options;
  }

  lineChanged(): void {
    const { line, clock, tally } = this.#options;
    if (line.synced) tally.saw(line.leader?.token, clock.now());
  }

  renewed(roundTripMs: number): void {
    this.#options.tally.renewed(roundTripMs);
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
    const { line, endpoints, member, tally } = this.#options;
    const labels = { election: member.election, id: member.id };
    return [
      ...tally.metrics(labels),
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
    const { member, clock, tally } = this.#options;
    const now = clock.now();
    const failoverMs = tally.began(now);
    this.#termBeganAt = now;
    publish("succession:role", member, { role: "leader", token, cause: "elected" });
    publish("succession:term:start", member, { token, failoverMs });
  }

  #ended(token: bigint, cause: Cause): void {
    const { member, clock, tally } = this.#options;
    const now = clock.now();
    tally.ended(token, cause, now);
    publish("succession:role", member, { role: "standby", token, cause });
    publish("succession:term:end", member, { token, cause, lengthMs: now - this.#termBeganAt });
  }
}
