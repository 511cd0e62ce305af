import type { Etcd } from "../etcd/etcd.ts";
import type { EtcdError } from "../etcd/failure.ts";
import { anyKey, Pulse } from "../overview/pulse.ts";
import { oneLine } from "./one-line.ts";

/** Who is told, once for each outage and once for its end. */
export interface OutageListener {
  trouble(code: string, message: string): void;
  relief(message: string): void;
}

/** Tells when etcd does not answer, and when it does again: somebody looks at a terminal. */
export class Outages {
  readonly #listener: OutageListener;
  readonly #pulse: Pulse;
  #current = false;

  constructor(etcd: Etcd, listener: OutageListener) {
    this.#listener = listener;
    this.#pulse = new Pulse(etcd, anyKey, (error) => this.#onBeat(error));
  }

  /** Whether etcd cannot be reached now. */
  get current(): boolean {
    return this.#current;
  }

  stop(): void {
    this.#pulse.stop();
  }

  /** A refusal is an answer. */
  #onBeat(error: EtcdError | undefined): void {
    const away = error?.code === "ETCD_UNAVAILABLE";
    if (away && !this.#current) this.#listener.trouble(error.code, `waiting for etcd: ${oneLine(error)}`);
    if (!away && this.#current) this.#listener.relief("etcd answers again");
    this.#current = away;
  }
}
