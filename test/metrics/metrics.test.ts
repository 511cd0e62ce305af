import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { metrics as otelMetrics } from "@opentelemetry/api";
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { Counter, Registry } from "prom-client";
import { afterEach, describe, expect, test } from "vitest";
import { Histogram } from "../../src/histogram.ts";
import type { DiagnosticChannel } from "../../src/member/diagnostics.ts";
import type { Member } from "../../src/member/member.ts";
import { Tally } from "../../src/member/tally.ts";
import { exposition, type Metric } from "../../src/metric.ts";
import { meterMetrics } from "../../src/metrics/meter.ts";
import { registerMetrics } from "../../src/metrics/prom-client.ts";
import { traceMember } from "../../src/metrics/tracer.ts";
import { gate, World } from "../member/world.ts";

describe("the text format", () => {
  test("escapes what would end a label or a line, and tells numbers as Prometheus reads them", () => {
    const metric = (samples: Metric["samples"]): Metric => ({
      ...{ name: "a", help: "back\\slash\nline", type: "gauge", samples },
    });
    expect(
      exposition([
        metric([{ labels: { id: 'q"\\\n{}' }, value: 1.5 }]),
        metric([
          { labels: {}, value: Number.POSITIVE_INFINITY },
          { labels: {}, value: Number.NaN },
        ]),
        { name: "none", help: "", type: "counter", samples: [] },
      ]),
    ).toBe(
      [
        "# HELP a back\\\\slash\\nline",
        "# TYPE a gauge",
        'a{id="q\\"\\\\\\n{}"} 1.5',
        "a +Inf",
        "a NaN",
        "# HELP none ",
        "# TYPE none counter",
        "",
      ].join("\n"),
    );
  });

  test("counts a value on a bound into its bucket, and each bucket with those below", () => {
    const histogram = new Histogram([1, 2]);
    for (const value of [0.5, 1, 2, 3]) histogram.observe(value);
    expect(histogram.samples({}).map(({ suffix, labels: { le }, value }) => [suffix, le, value])).toEqual([
      ["_bucket", "1", 2],
      ["_bucket", "2", 3],
      ["_bucket", "+Inf", 4],
      ["_sum", undefined, 6.5],
      ["_count", undefined, 4],
    ]);
  });
});

/** The lines of a member's metrics, without those of zero. */
function lines(member: Member): string[] {
  return exposition(member.metrics())
    .split("\n")
    .filter((line) => !line.startsWith("#") && !/_bucket|_sum| 0$|^$/.test(line))
    .map((line) => line.replaceAll('election="/merc",', ""));
}

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

describe("a member's metrics", () => {
  test("say who leads, who is next, and how the lead changed", async () => {
    const world = new World();
    const { member: a } = await world.join("a");
    const { member: b } = await world.join("b");
    a.metrics();
    await world.settle();
    expect(lines(a)).toEqual([
      'succession_is_leader{id="a"} 1',
      `succession_term_token{id="a"} ${a.term?.token}`,
      'succession_lease_remaining_seconds{id="a"} 9.75',
      'succession_role_changes_total{id="a",cause="elected"} 1',
      expect.stringMatching(/^succession_endpoint_up\{id="a",endpoint="[\w.-]+:\d+"\} 1$/),
    ]);
    expect(lines(b)).toEqual([
      'succession_lease_remaining_seconds{id="b"} 9.75',
      'succession_line_position{id="b"} 1',
    ]);
    expect(exposition(a.metrics())).toContain('succession_line_position{election="/merc",id="a"} 0');
    await a.leave();
    expect(lines(a)).toEqual([
      'succession_role_changes_total{id="a",cause="elected"} 1',
      'succession_role_changes_total{id="a",cause="resigned"} 1',
      expect.stringContaining("endpoint_up"),
    ]);
    expect(exposition(a.metrics())).not.toMatch(/^succession_line_position\{/m);
    expect(lines(b)).toContain('succession_failover_seconds_count{id="b"} 1');
    await b.leave();
  });

  test("never say leader after the deadline, before any timer or event", async () => {
    const world = new World();
    const { member } = await world.join("a");
    world.clock.jump(60_000);
    expect(lines(member).filter((line) => /leader|token|lease/.test(line))).toEqual([]);
    await member.leave();
  });

  test("time a failover from the old leader's end to the role, with `prepare` in it", async () => {
    const world = new World();
    const { member: a } = await world.join("a");
    const ready = gate();
    const { member: b } = await world.join("b", { prepare: () => ready.opened });
    await a.leave();
    await world.advance(3_000);
    expect(lines(b)).not.toContain('succession_failover_seconds_count{id="b"} 1');
    ready.open();
    await world.settle();
    const told = exposition(b.metrics());
    expect(told).toContain('succession_failover_seconds_bucket{election="/merc",id="b",le="2.5"} 0');
    expect(told).toContain('succession_failover_seconds_bucket{election="/merc",id="b",le="5"} 1');
    expect(told).toContain('succession_failover_seconds_sum{election="/merc",id="b"} 3');
    await b.leave();
  });

  test("count round trips, watches that went on after a break, and the end by the deadline", async () => {
    const world = new World();
    const { member, network } = await world.join("a");
    await world.advance(10_000);
    const renewals = /succession_keepalive_seconds_count\{.*\} (\d+)/;
    expect(Number(renewals.exec(exposition(member.metrics()))?.[1])).toBeGreaterThanOrEqual(2);
    network.silent = true;
    await world.advance(20_000);
    network.heal();
    await world.advance(20_000);
    expect(member.role).toBe("leader");
    const told = lines(member);
    expect(told).toContain('succession_role_changes_total{id="a",cause="deadline"} 1');
    expect(told).toContain('succession_role_changes_total{id="a",cause="elected"} 2');
    expect(told.find((line) => line.startsWith("succession_watch_resumes_total"))).toMatch(/ [1-9]\d*$/);
    // Alone in the election, it has measured the time in which it did not lead itself.
    expect(told).toContain('succession_failover_seconds_count{id="a"} 1');
    await member.leave();
  });

  test("go on where another member of the same process left off", async () => {
    const world = new World();
    const tally = new Tally();
    const { member: first } = await world.join("a", { tally });
    await world.advance(10_000);
    await first.leave();
    await world.advance(2_000);
    const { member: second } = await world.join("a", { tally });
    const told = lines(second);
    expect(told).toContain('succession_role_changes_total{id="a",cause="elected"} 2');
    expect(told).toContain('succession_role_changes_total{id="a",cause="resigned"} 1');
    expect(exposition(second.metrics())).toMatch(/^succession_failover_seconds_sum\{.*\} 2$/m);
    await second.leave();
  });

  test("show an endpoint that does not serve as down, and ask no one while nobody asks", async () => {
    const world = new World();
    const { member, network } = await world.join("a");
    const statuses = (): number => network.sent.filter(({ method }) => method === "Status").length;
    await world.advance(5_000);
    expect(statuses()).toBe(0);
    member.metrics();
    await world.settle();
    expect(statuses()).toBe(1);
    network.silent = (method) => method === "Status";
    await world.advance(5_000);
    member.metrics();
    await world.advance(10_000);
    expect(exposition(member.metrics())).toMatch(/^succession_endpoint_up\{.*\} 0$/m);
    network.heal();
    await member.leave();
  });
});

describe("a registry of prom-client", () => {
  test("tells of several members beside other metrics, as they are now, until they are taken out", async () => {
    const world = new World();
    const registry = new Registry();
    const other = new Counter({ name: "other_total", help: "other", registers: [registry] });
    other.inc();
    const { member: a } = await world.join("a");
    const { member: b } = await world.join("b");
    const [removeA, removeB] = [registerMetrics(registry, a), registerMetrics(registry, b)];
    await registry.metrics();
    await world.settle();
    const told = await registry.metrics();
    expect(told).toContain("other_total 1");
    expect(told.replaceAll("\n\n", "\n")).toContain(exposition([...a.metrics(), ...b.metrics()]));
    world.clock.jump(60_000);
    expect(await registry.metrics()).not.toMatch(/^succession_is_leader.* 1$/m);
    registry.resetMetrics();
    removeA();
    expect(await registry.metrics()).not.toContain('id="a"');
    expect(await registry.getSingleMetricAsString("succession_is_leader")).toContain('id="b"');
    removeB();
    expect(registry.getMetricsAsArray()).toHaveLength(1);
    await Promise.all([a.leave(), b.leave()]);
  });

  test("for OpenMetrics gets each counter's name right, however often it is asked", async () => {
    const world = new World();
    const { member } = await world.join("a");
    const registry = new Registry<typeof Registry.OPENMETRICS_CONTENT_TYPE>();
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
    registerMetrics(registry, member);
    await registry.metrics();
    const told = await registry.metrics();
    expect(told).toContain("# TYPE succession_watch_resumes counter");
    expect(told).toMatch(/^succession_role_changes_total\{.*cause="elected"\} 1$/m);
    await member.leave();
  });
});

describe("OpenTelemetry", () => {
  test("gets the same numbers by a meter, also those that are told one by one", async () => {
    const world = new World();
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 31 - 1 });
    const provider = new MeterProvider({ readers: [reader] });
    ends.push(() => provider.shutdown());
    // The API alone, with no SDK behind it, takes it as well.
    const { member: a } = await world.join("a");
    const { member: b } = await world.join("b");
    meterMetrics(otelMetrics.getMeter("none"), a)();
    const end = meterMetrics(provider.getMeter("succession"), b);
    await world.advance(10_000);
    await a.leave();
    await reader.forceFlush();
    const told = exporter.getMetrics().flatMap((each) => each.scopeMetrics.flatMap(({ metrics }) => metrics));
    const points = Object.fromEntries(told.map((each) => [each.descriptor.name, each]));
    expect(points["succession.is_leader"]?.dataPoints).toMatchObject([
      { value: 1, attributes: { election: "/merc", id: "b" } },
    ]);
    expect(points["succession.lease_remaining"]?.descriptor).toMatchObject({ unit: "s" });
    expect(points["succession.failover"]?.dataPoints).toMatchObject([
      { value: { count: 1, buckets: { boundaries: expect.arrayContaining([0.01, 300]) } } },
    ]);
    expect(points["succession.keepalive"]?.dataPoints[0]?.value).toMatchObject({ count: expect.any(Number) });
    const changes = points["succession.role_changes"]?.dataPoints ?? [];
    expect(changes.find(({ attributes: { cause } }) => cause === "elected")?.value).toBe(1);
    end();
    await b.leave();
  });

  test("gets a span for promotion, term and demotion, with the cause, and as an error where nobody asked for the end", async () => {
    const world = new World();
    const exporter = new InMemorySpanExporter();
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
    ends.push(() => provider.shutdown());
    const { member, network } = await world.join("a");
    const token = Number(member.term?.token);
    const end = traceMember(provider.getTracer("succession"), member);
    network.silent = true;
    await world.advance(15_000);
    network.heal();
    await world.advance(15_000);
    const [lead, demote, promote] = exporter.getFinishedSpans();
    expect(lead).toMatchObject({
      name: "succession.lead",
      attributes: {
        ...{ "succession.election": "/merc", "succession.id": "a", "succession.token": token },
        "succession.cause": "deadline",
      },
      status: { code: 2, message: "deadline" },
    });
    expect([demote?.name, promote?.name]).toEqual(["succession.demote", "succession.promote"]);
    end();
    expect(exporter.getFinishedSpans().at(-1)).toMatchObject({
      name: "succession.lead",
      status: { code: 0 },
    });
    await member.leave();
  });
});

test("diagnostics channels tell phases, roles and terms in order, whose they are, and nothing after the end", async () => {
  const world = new World();
  const a = await world.join("a");
  const b = await world.join("b");
  const [one, two] = [a.member.term?.token, b.member.line[1]?.token];
  const told: unknown[] = [];
  const channels: DiagnosticChannel[] = [
    "succession:phase",
    "succession:role",
    "succession:term:start",
    "succession:term:end",
  ];
  for (const name of channels) {
    const hear = (message: unknown): void => {
      const { member, election, ...fields } = message as Record<string, unknown>;
      expect([member === a.member || member === b.member, election]).toEqual([true, "/merc"]);
      told.push({ name: name.slice(11), ...fields });
    };
    subscribe(name, hear);
    ends.push(() => unsubscribe(name, hear));
  }
  await a.member.leave();
  expect(told).toEqual([
    { name: "phase", id: "a", from: "leading", to: "demoting", token: one, cause: "resigned" },
    { name: "role", id: "a", role: "standby", token: one, cause: "resigned" },
    { name: "term:end", id: "a", token: one, cause: "resigned", lengthMs: 0 },
    { name: "phase", id: "b", from: "waiting", to: "promoting", token: two, cause: undefined },
    { name: "phase", id: "b", from: "promoting", to: "leading", token: two, cause: undefined },
    { name: "role", id: "b", role: "leader", token: two, cause: "elected" },
    { name: "term:start", id: "b", token: two, failoverMs: 0 },
    { name: "phase", id: "a", from: "demoting", to: "outside", token: one, cause: undefined },
  ]);
  await b.member.leave();
});
