import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { sleep } from "../waiting.ts";

const askEveryMs = 2_000;
const patienceMs = 2_500;

/**
 * Whether etcd answers, asked every two seconds. A watch that says nothing proves nothing: without this a page would go on
 * showing what was so before the connection broke.
 */
export class Pulse {
  readonly #etcd: Etcd;
  readonly #stopped = new AbortController();
  readonly #ended: Promise<void>;
  #answeredAt: number;
  #answers = true;

  /** `beat` is called after each question, at least every five seconds. */
  constructor(etcd: Etcd, beat: () => void) {
    this.#etcd = etcd;
    this.#answeredAt = etcd.clock.now();
    this.#ended = this.#ask(beat);
  }

  /** For how many milliseconds it has not answered; `undefined` while it does. */
  get awayMs(): number | undefined {
    return this.#answers ? undefined : Math.round(this.#etcd.clock.now() - this.#answeredAt);
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#ended;
  }

  /** Never rejects. */
  async #ask(beat: () => void): Promise<void> {
    const { signal } = this.#stopped;
    const { clock } = this.#etcd;
    while (!signal.aborted) {
      const askedAt = clock.now();
      this.#answers = await this.#answered(signal);
      if (this.#answers) this.#answeredAt = askedAt;
      if (!signal.aborted) beat();
      await sleep(clock, askEveryMs, signal).catch(() => {});
    }
  }

  /** A refusal is an answer. */
  async #answered(signal: AbortSignal): Promise<boolean> {
    try {
      await this.#etcd.range(Uint8Array.of(0), { countOnly: true, timeoutMs: patienceMs, signal });
      return true;
    } catch (error) {
      return error instanceof EtcdError && error.code !== "ETCD_UNAVAILABLE";
    }
  }
}
