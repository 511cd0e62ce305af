import { get } from "node:http";
import { Observer } from "../../concurrency/observer.ts";
import type { Etcd } from "../../etcd/etcd.ts";

const everyMs = 50;
const timeoutMs = 1_000;

export interface ClientListener {
  served(): void;
  failed(): void;
}

/** A client of the service: it observes the election, and sends steady requests to whoever leads. */
export class Client {
  readonly #listener: ClientListener;
  readonly #stopped = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #leader: string | undefined;
  #opened = false;

  constructor(etcd: Etcd, election: string, listener: ClientListener) {
    this.#listener = listener;
    this.#timer = setInterval(() => this.#request(), everyMs);
    void this.#observe(new Observer(etcd, election));
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#stopped.abort();
  }

  /** Never rejects. */
  async #observe(observer: Observer): Promise<void> {
    const { signal } = this.#stopped;
    try {
      for await (const leader of observer.observe({ signal })) this.#leader = leader?.id;
    } catch {
      // Stopped; or etcd refuses to be observed, which shows as failed requests.
    }
  }

  #request(): void {
    const { signal } = this.#stopped;
    // A member's id is name:host:port.
    const [, host, port] = /^[^:]*:(.*):(\d+)$/.exec(this.#leader ?? "") ?? [];
    if (host === undefined || port === undefined) {
      // Before the first leader the service has not opened yet.
      if (this.#opened) this.#listener.failed();
      return;
    }
    this.#opened = true;
    let settled = false;
    const settle = (served: boolean): void => {
      if (settled || signal.aborted) return;
      settled = true;
      if (served) this.#listener.served();
      else this.#listener.failed();
    };
    const request = get({ host, port, path: "/", agent: false, timeout: timeoutMs, signal }, (response) => {
      response.on("error", () => settle(false));
      response.on("end", () => settle(response.statusCode === 200)).resume();
    });
    request.on("error", () => settle(false));
    request.on("timeout", () => request.destroy());
  }
}
