import type { MetricLabels, MetricSample } from "./metric.ts";

/** How many of the values observed were how large, in buckets that are fixed. */
export class Histogram {
  readonly #bounds: readonly number[];
  /** By bucket, each without those below; the last is for what is beyond every bound. */
  readonly #counts: number[];
  #sum = 0;

  /** The buckets' upper bounds, ascending. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Array(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    const found = this.#bounds.findIndex((bound) => value <= bound);
    const bucket = found < 0 ? this.#bounds.length : found;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += value;
  }

  /** As Prometheus counts: each bucket with all that is below it. */
  samples(labels: MetricLabels): readonly MetricSample[] {
    let count = 0;
    const buckets = [...this.#bounds, Number.POSITIVE_INFINITY].map((bound, bucket): MetricSample => {
      count += this.#counts[bucket] ?? 0;
      const le = Number.isFinite(bound) ? String(bound) : "+Inf";
      return { suffix: "_bucket", labels: { ...labels, le }, value: count };
    });
    return [
      ...buckets,
      { suffix: "_sum", labels, value: this.#sum },
      { suffix: "_count", labels, value: count },
    ];
  }
}
