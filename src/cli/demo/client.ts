import { setMaxListeners } from "node:events";
import { get } from "node:http";

const everyMs = 50;

export interface ClientListener {
  served(): void;
  failed(): void;
}

export interface ClientOptions {
  /** The gateway, as `host:port`. */
  readonly address: string;
  /** How long a request may take. */
  readonly timeoutMs: number;
}

/** A client of the service: it sends steady requests to the gateway, each on a connection of its own. */
export class Client {
  readonly #options: ClientOptions;
  readonly #listener: ClientListener;
  readonly #stopped = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(options: ClientOptions, listener: ClientListener) {
    this.#options = options;
    this.#listener = listener;
    // Every request under way listens to it.
    setMaxListeners(0, this.#stopped.signal);
    this.#timer = setInterval(() => this.#request(), everyMs);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#stopped.abort();
  }

  #request(): void {
    const { signal } = this.#stopped;
    const { address, timeoutMs } = this.#options;
    let settled = false;
    const settle = (served: boolean): void => {
      if (settled || signal.aborted) return;
      settled = true;
      if (served) this.#listener.served();
      else this.#listener.failed();
    };
    const options = { agent: false, timeout: timeoutMs, signal };
    const request = get(`http://${address}/`, options, (response) => {
      response.on("error", () => settle(false));
      response.on("end", () => settle(response.statusCode === 200)).resume();
    });
    request.on("error", () => settle(false));
    request.on("timeout", () => request.destroy());
  }
}
