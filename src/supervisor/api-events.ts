import type { ServerResponse } from "node:http";
import type { CancelTimer, Clock } from "../clock.ts";

/** Without a line for so long proxies and clients take a stream for dead. */
const quietMs = 10_000;

/**
 * Server-sent events to one reader. One that does not read is cut off when the system's buffer and Node.js' first 16 KiB
 * are full: he comes back and begins with the present state, which is all that he missed.
 */
export class EventStream {
  static readonly headers: Readonly<Record<string, string>> = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
  };
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  #cancelPulse: CancelTimer = () => {};

  constructor(clock: Clock, response: ServerResponse) {
    this.#clock = clock;
    this.#response = response;
    response.writeHead(200, EventStream.headers);
    response.once("close", () => this.#cancelPulse());
    this.#write("retry: 1000\n\n");
  }

  send(state: object): void {
    this.#write(`data: ${JSON.stringify(state)}\n\n`);
  }

  end(): void {
    this.#response.end();
  }

  #write(text: string): void {
    if (this.#response.destroyed || this.#response.writableEnded) return;
    if (!this.#response.write(text)) {
      this.#response.destroy();
      return;
    }
    this.#cancelPulse();
    this.#cancelPulse = this.#clock.at(this.#clock.now() + quietMs, () => this.#write(":\n\n"));
  }
}
