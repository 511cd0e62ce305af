import type { Metric, MetricSource } from "../metric.ts";

/** A registry of prom-client, as far as it is needed here: any version whose registry asks metrics by `get`. */
export interface PromRegistry {
  registerMetric(metric: { get(): Promise<object> }): void;
  removeSingleMetric(name: string): void;
}

const shares: WeakMap<PromRegistry, Share> = new WeakMap();

/**
 * Adds what a member or gateway measures to a registry of prom-client, computed whenever the registry is asked. Several may
 * share a registry: labels tell them apart. The result takes it out again; after leaving, a member says that it leads
 * no more. Throws where the registry has other metrics of these names.
 */
export function registerMetrics(registry: PromRegistry, source: MetricSource): () => void {
  const share = shares.get(registry) ?? new Share(registry);
  shares.set(registry, share);
  return share.add(source);
}

/** What of a registry is ours. */
class Share {
  readonly #registry: PromRegistry;
  readonly #sources: Set<MetricSource> = new Set();
  readonly #registered: Map<string, Registered> = new Map();
  /** Computed once for all metrics that the registry asks for in one go. */
  #now: readonly Metric[] | undefined;

  constructor(registry: PromRegistry) {
    this.#registry = registry;
  }

  add(source: MetricSource): () => void {
    for (const described of source.metrics()) {
      const { name } = described;
      const metric = this.#registered.get(name) ?? new Registered(described, () => this.#metrics());
      this.#registry.registerMetric(metric);
      this.#registered.set(name, metric);
    }
    this.#sources.add(source);
    return () => this.#remove(source);
  }

  #remove(source: MetricSource): void {
    this.#sources.delete(source);
    const left = new Set([...this.#sources].flatMap((each) => each.metrics()).map(({ name }) => name));
    for (const name of this.#registered.keys()) {
      if (left.has(name)) continue;
      this.#registry.removeSingleMetric(name);
      this.#registered.delete(name);
    }
  }

  #metrics(): readonly Metric[] {
    if (this.#now === undefined) {
      this.#now = [...this.#sources].flatMap((source) => source.metrics());
      queueMicrotask(() => {
        this.#now = undefined;
      });
    }
    return this.#now;
  }
}

/** One metric as a registry sees it. */
class Registered {
  /** A registry for OpenMetrics takes "_total" off it, and puts it back when it writes. */
  name: string;
  readonly help: string;
  readonly type: Metric["type"];
  readonly #known: string;
  readonly #metrics: () => readonly Metric[];

  constructor({ name, help, type }: Metric, metrics: () => readonly Metric[]) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#known = name;
    this.#metrics = metrics;
  }

  async get(): Promise<object> {
    const { name, help, type } = this;
    const values = this.#metrics()
      .filter((metric) => metric.name === this.#known)
      .flatMap(({ samples }) => samples)
      .map(({ labels, value, suffix }) => {
        return { labels, value, ...(suffix === undefined ? {} : { metricName: `${name}${suffix}` }) };
      });
    return { name, help, type, values, aggregator: "sum" };
  }

  /** Counters of what has happened cannot be taken back. */
  reset(): void {}
}
