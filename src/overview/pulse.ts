import type { Bytes } from "../etcd/bytes.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { backoffMs, sleep } from "../waiting.ts";

/** A key that nobody has: to be answered at all is what counts. */
export const anyKey: Uint8Array = Uint8Array.of(0);

const checkEveryMs = 2_000;
const patienceMs = 3_000;

/**
 * Notices when etcd does not answer. Nothing depends on it: whoever follows something waits by himself, but in silence,
 * and somebody looks.
 */
export class Pulse {
  readonly #etcd: Etcd;
  readonly #key: Bytes;
  readonly #onBeat: (error: EtcdError | undefined) => void;
  readonly #stopped = new AbortController();
  #failing = false;
  #answeredAt: number;

  /** Reads a key from time to time. `onBeat` is told each time what was wrong with that, if anything. */
  constructor(etcd: Etcd, key: Bytes, onBeat: (error: EtcdError | undefined) => void) {
    this.#etcd = etcd;
    this.#key = key;
    this.#onBeat = onBeat;
    this.#answeredAt = etcd.clock.now();
    void this.#watch();
  }

  /** When it asked for the last time of those that were answered; at first, when it began. */
  get answeredAt(): number {
    return this.#answeredAt;
  }

  stop(): void {
    this.#stopped.abort();
  }

  /** Never rejects. */
  async #watch(): Promise<void> {
    const { signal } = this.#stopped;
    const { clock } = this.#etcd;
    while (!signal.aborted) {
      await sleep(clock, this.#failing ? backoffMs(clock, 1, 500) : checkEveryMs, signal).catch(() => {});
      const askedAt = clock.now();
      const error = await this.#trouble(signal);
      if (signal.aborted) return;
      if (error === undefined) this.#answeredAt = askedAt;
      this.#failing = error !== undefined;
      this.#onBeat(error);
    }
  }

  async #trouble(signal: AbortSignal): Promise<EtcdError | undefined> {
    try {
      await this.#etcd.range(this.#key, { countOnly: true, timeoutMs: patienceMs, signal });
    } catch (error) {
      if (error instanceof EtcdError) return error;
    }
    return undefined;
  }
}
