import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { backoffMs, sleep } from "../waiting.ts";
import { oneLine } from "./one-line.ts";

const checkEveryMs = 2_000;
const patienceMs = 3_000;

/** Who is told, once for each outage and once for its end. */
export interface OutageListener {
  trouble(code: string, message: string): void;
  relief(message: string): void;
}

/**
 * Notices when etcd does not answer. Nothing depends on it: members and observers wait by themselves, but in silence,
 * and somebody looks at a terminal.
 */
export class Outages {
  readonly #etcd: Etcd;
  readonly #listener: OutageListener;
  readonly #stopped = new AbortController();
  #current = false;

  constructor(etcd: Etcd, listener: OutageListener) {
    this.#etcd = etcd;
    this.#listener = listener;
    void this.#watch();
  }

  /** Whether etcd cannot be reached now. */
  get current(): boolean {
    return this.#current;
  }

  stop(): void {
    this.#stopped.abort();
  }

  /** Never rejects. */
  async #watch(): Promise<void> {
    const { signal } = this.#stopped;
    const { clock } = this.#etcd;
    while (!signal.aborted) {
      await sleep(clock, this.#current ? backoffMs(clock, 1, 500) : checkEveryMs, signal).catch(() => {});
      const error = await this.#trouble(signal);
      if (signal.aborted) return;
      if (error !== undefined && !this.#current)
        this.#listener.trouble(error.code, `waiting for etcd: ${oneLine(error)}`);
      if (error === undefined && this.#current) this.#listener.relief("etcd answers again");
      this.#current = error !== undefined;
    }
  }

  /** Why etcd does not answer a small read; a refusal is an answer. */
  async #trouble(signal: AbortSignal): Promise<EtcdError | undefined> {
    try {
      await this.#etcd.range(Uint8Array.of(0), { countOnly: true, timeoutMs: patienceMs, signal });
    } catch (error) {
      if (error instanceof EtcdError && error.code === "ETCD_UNAVAILABLE") return error;
    }
    return undefined;
  }
}
