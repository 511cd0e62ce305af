import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { DiagnosticChannel, DiagnosticMessages } from "../member/diagnostics.ts";
import type { Metric, MetricLabels, MetricSource } from "../metric.ts";

/** What an instrument of OpenTelemetry is made with. */
export interface InstrumentOptions {
  readonly description?: string;
  readonly unit?: string;
  readonly advice?: { explicitBucketBoundaries?: number[] };
}

/** An instrument of OpenTelemetry that asks. */
export interface ObservableInstrument {
  addCallback(callback: ObservableCallback): void;
  removeCallback(callback: ObservableCallback): void;
}

/** What such an instrument calls when its value is wanted. */
export type ObservableCallback = (result: {
  observe(value: number, attributes?: Record<string, string>): void;
}) => void;

/** A meter of `@opentelemetry/api`, as far as it is needed here. */
export interface OtelMeter {
  createObservableGauge(name: string, options?: InstrumentOptions): ObservableInstrument;
  createObservableCounter(name: string, options?: InstrumentOptions): ObservableInstrument;
  createHistogram(
    name: string,
    options?: InstrumentOptions,
  ): { record(value: number, attributes?: Record<string, string>): void };
}

/** Histograms are told value by value, when each is measured. */
const values: Readonly<Record<string, readonly [DiagnosticChannel, (message: never) => number | undefined]>> =
  {
    succession_failover_seconds: [
      "succession:term:start",
      ({ failoverMs }: DiagnosticMessages["succession:term:start"]) => failoverMs,
    ],
    succession_keepalive_seconds: [
      "succession:keepalive",
      ({ roundTripMs }: DiagnosticMessages["succession:keepalive"]) => roundTripMs,
    ],
  };

/**
 * Gives what a member or gateway measures to a meter of OpenTelemetry, such as `metrics.getMeter("succession")` of
 * `@opentelemetry/api`. The names are those of Prometheus with a dot and without the units, which are told: an exporter for
 * Prometheus makes the same names of them. The result ends it.
 */
export function meterMetrics(meter: OtelMeter, source: MetricSource): () => void {
  const ends = source.metrics().map((metric) => meterOne(meter, source, metric));
  return () => {
    for (const end of ends) end();
  };
}

function meterOne(meter: OtelMeter, source: MetricSource, metric: Metric): () => void {
  const { name, help, type } = metric;
  const isSeconds = name.endsWith("_seconds");
  const plain = name.replace(/^succession_/, "succession.").replace(/_(seconds|total)$/, "");
  const options = { description: help, ...(isSeconds ? { unit: "s" } : {}) };
  if (type === "histogram") {
    // OpenTelemetry's own buckets are made for milliseconds.
    const advice = { explicitBucketBoundaries: boundsOf(metric) };
    const histogram = meter.createHistogram(plain, { ...options, advice });
    return listen(name, source, (value, labels) => histogram.record(value, { ...labels }));
  }
  const instrument =
    type === "counter"
      ? meter.createObservableCounter(plain, options)
      : meter.createObservableGauge(plain, options);
  const tell: ObservableCallback = (result) => {
    const now = source.metrics().find((each) => each.name === name);
    for (const { value, labels } of now?.samples ?? []) result.observe(value, { ...labels });
  };
  instrument.addCallback(tell);
  return () => instrument.removeCallback(tell);
}

function boundsOf({ samples }: Metric): number[] {
  return samples.map(({ labels: { le } }) => Number(le)).filter(Number.isFinite);
}

function listen(
  name: string,
  source: MetricSource,
  record: (seconds: number, labels: MetricLabels) => void,
): () => void {
  const [channel, msIn] = values[name] ?? [];
  if (channel === undefined || msIn === undefined) return () => {};
  const hear = (message: unknown): void => {
    const { member, election, id } = message as DiagnosticMessages[DiagnosticChannel];
    const ms = msIn(message as never);
    if (member === source && ms !== undefined) record(ms / 1_000, { election, id });
  };
  subscribe(channel, hear);
  return () => unsubscribe(channel, hear);
}
