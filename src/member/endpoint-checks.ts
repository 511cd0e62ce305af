import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";

/** Whoever asks more often is told the same again. */
const leastPeriodMs = 1_000;

/**
 * Whether each endpoint of etcd serves: it answers, and knows a raft leader. Looked at only while somebody asks: each question
 * begins the look whose outcome the next one is told, so that nobody waits for an endpoint that is silent.
 */
export class EndpointChecks {
  readonly #etcd: Etcd;
  readonly #limits: CallOptions;
  readonly #known: Map<string, boolean> = new Map();
  #looking = false;
  #lookedAt = Number.NEGATIVE_INFINITY;

  /** It stops looking when the signal aborts. */
  constructor(etcd: Etcd, signal: AbortSignal) {
    this.#etcd = etcd;
    this.#limits = { signal, timeoutMs: 3 * etcd.attemptTimeoutMs };
  }

  /** By name, as of the last look. */
  ask(): ReadonlyMap<string, boolean> {
    void this.#look();
    return this.#known;
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { clock, endpoints } = this.#etcd;
    const stopped = this.#limits.signal?.aborted === true || this.#etcd.closedSignal.aborted;
    if (stopped || this.#looking || clock.now() - this.#lookedAt < leastPeriodMs) return;
    this.#looking = true;
    this.#lookedAt = clock.now();
    await Promise.all(endpoints.map(async (name) => this.#known.set(name, await this.#serves(name))));
    this.#looking = false;
  }

  async #serves(endpoint: string): Promise<boolean> {
    try {
      return (await this.#etcd.status(endpoint, this.#limits)).leader !== 0n;
    } catch (error) {
      // Whoever refuses to tell answers.
      return error instanceof EtcdError && error.code !== "ETCD_UNAVAILABLE";
    }
  }
}
