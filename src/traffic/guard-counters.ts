import type { Metric } from "../metric.ts";

/**
 * Why a request that was to be passed on was not, or not to its end.
 *
 * - `unreachable`: no connection to the leader; it is tried again.
 * - `broken`: the leader broke off before it had answered; the client got 502.
 * - `late`: the leader did not answer, or take the request, in time; the client got 504.
 * - `stalled`: the leader stopped in the middle of its answer, which was broken off.
 * - `full`: too many were held; the client got 503.
 * - `waited`: it was held for as long as may be; the client got 503.
 * - `loop`: members passed it on in circles; the client got 508.
 */
export type GuardFailure = "unreachable" | "broken" | "late" | "stalled" | "full" | "waited" | "loop";

/** What a guard has counted since it was made. */
export class GuardCounters {
  /** Requests whose answer, or at least its beginning, came from the leader. */
  forwarded = 0;
  readonly failures: Record<GuardFailure, number> = {
    ...{ unreachable: 0, broken: 0, late: 0, stalled: 0, full: 0, waited: 0, loop: 0 },
  };

  /** As metrics, with what is so at this moment. */
  metrics(
    labels: { readonly election: string; readonly id: string },
    now: { readonly inFlight: number; readonly held: number },
  ): readonly Metric[] {
    const one = (type: Metric["type"], name: string, help: string, value: number): Metric => ({
      ...{ name: `succession_guard_${name}`, help, type, samples: [{ labels, value }] },
    });
    const failures = Object.entries(this.failures);
    return [
      one("gauge", "in_flight", "Requests and upgraded connections that are served here.", now.inFlight),
      one("gauge", "held", "Requests that wait for a leader.", now.held),
      one("counter", "forwarded_total", "Requests that the leader answered for this member.", this.forwarded),
      {
        ...{ name: "succession_guard_failures_total", type: "counter" },
        help: "Requests that were to be passed on and were not, or not to their end, and failed attempts at it.",
        samples: failures.map(([reason, value]) => ({ labels: { ...labels, reason }, value })),
      },
    ];
  }
}
