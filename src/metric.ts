/** Names of labels and their values. */
export type MetricLabels = Readonly<Record<string, string>>;

/** One number of a metric. */
export interface MetricSample {
  readonly labels: MetricLabels;
  readonly value: number;
  /** What follows the metric's name: a histogram's samples are its `_bucket`, `_sum` and `_count`. */
  readonly suffix?: "_bucket" | "_sum" | "_count";
}

/** A metric and its numbers now, as Prometheus knows them. Durations are seconds. */
export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: "gauge" | "counter" | "histogram";
  readonly samples: readonly MetricSample[];
}

/** Whoever measures something: a member, a gateway. */
export interface MetricSource {
  /** What it has measured, now. */
  metrics(): readonly Metric[];
}

/** One metric of each name: several guards of one member, say, count under the same labels. */
export function summed(metrics: readonly Metric[]): readonly Metric[] {
  const byName = new Map<string, Metric>();
  for (const metric of metrics) {
    const before = byName.get(metric.name);
    const samples = metric.samples.map((sample, at) => ({
      ...sample,
      value: sample.value + (before?.samples[at]?.value ?? 0),
    }));
    byName.set(metric.name, { ...metric, samples });
  }
  return [...byName.values()];
}

/** The media type of `exposition`. */
export const expositionType = "text/plain; version=0.0.4; charset=utf-8";

/** Metrics in Prometheus's text format 0.0.4. Those of one name become one, whoever they are of. */
export function exposition(metrics: readonly Metric[]): string {
  const byName = new Map<string, Metric[]>();
  for (const metric of metrics) byName.set(metric.name, [...(byName.get(metric.name) ?? []), metric]);
  return [...byName.values()].map(paragraph).join("");
}

function paragraph(same: readonly Metric[]): string {
  const { name, help, type } = same[0] as Metric;
  const samples = same.flatMap((metric) => metric.samples);
  const head = `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n`;
  return head + samples.map((sample) => `${line(name, sample)}\n`).join("");
}

function line(name: string, { suffix, labels, value }: MetricSample): string {
  const each = Object.entries(labels).map(
    ([label, text]) => `${label}="${escaped(text).replaceAll('"', '\\"')}"`,
  );
  return `${name}${suffix ?? ""}${each.length === 0 ? "" : `{${each.join(",")}}`} ${numeral(value)}`;
}

/** Ids and endpoints are other people's text: a line break in one must not begin a line. */
function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function numeral(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}
