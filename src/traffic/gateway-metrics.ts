import type { Metric, MetricSample } from "../metric.ts";
import type { Route, WaitReason } from "./gateway-route.ts";
import type { GatewayStats } from "./gateway-stats.ts";

const waitReasons: readonly WaitReason[] = ["starting", "stale", "no-leader", "handover", "no-address"];

/** What a gateway has counted, and where its connections go, as metrics. */
export function gatewayMetrics(election: string, stats: GatewayStats, route: Route): readonly Metric[] {
  const counter = (what: string, help: string, value: number): Metric =>
    metric("counter", `${what}_total`, help, [{ labels: { election }, value }]);
  const gauge = (what: string, help: string, value: number): Metric =>
    metric("gauge", what, help, [{ labels: { election }, value }]);
  /** The same by kind, under a label. */
  const by = (label: string, kinds: Readonly<Record<string, number>>): readonly MetricSample[] =>
    Object.entries(kinds).map(([kind, value]) => ({ labels: { election, [label]: kind }, value }));
  const why = route.at === "open" ? undefined : route.why;
  const reasons = waitReasons.map((reason) => [reason, reason === why ? 1 : 0] as const);
  return [
    gauge("open", "1 while new connections go to a leader, else 0.", route.at === "open" ? 1 : 0),
    metric(
      "gauge",
      "waits",
      "1 for the reason why new connections wait.",
      by("reason", Object.fromEntries(reasons)),
    ),
    gauge("connections_open", "Connections that are connected to a leader.", stats.open),
    gauge("connections_held", "Connections that wait for a leader.", stats.waiting),
    counter("accepted", "Connections taken from clients.", stats.accepted),
    counter("forwarded", "Connections that reached a leader.", stats.forwarded),
    metric(
      "counter",
      "refused_total",
      "Connections reset because too many waited or were open, or none took them in time.",
      by("reason", { full: stats.refusedFull, late: stats.refusedLate }),
    ),
    counter("connect_failures", "Failed attempts to connect to a leader.", stats.connectFailures),
    counter("loops", "Those of them that would have come back to the gateway itself.", stats.loops),
    counter("address_failures", "Leaders that told no address that can be used.", stats.addressFailures),
    metric(
      "counter",
      "cut_total",
      "Connections ended by the gateway.",
      by("reason", {
        "term-end": stats.cutByTermEnd,
        stale: stats.cutByStaleness,
        silent: stats.cutBySilence,
        "drain-end": stats.cutByDrainEnd,
      }),
    ),
    counter("broken", "Connections that broke on either side after they had reached a leader.", stats.broken),
    counter("silent", "Connections on which a leader that was sent something did not answer.", stats.silent),
    metric(
      "counter",
      "bytes_total",
      "Bytes passed on.",
      by("to", { leader: stats.bytesToLeader, clients: stats.bytesToClients }),
    ),
  ];
}

function metric(type: Metric["type"], what: string, help: string, samples: readonly MetricSample[]): Metric {
  return { name: `succession_gateway_${what}`, help, type, samples };
}
