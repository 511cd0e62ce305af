import type { ServerResponse } from "node:http";
import type { CancelTimer, Clock } from "../clock.ts";
import { securityHeaders } from "./answer.ts";
import type { Messages } from "./messages.ts";

/** A reader that has not taken what was sent after so long is cut off; a living browser opens a stream anew. */
const slowMs = 15_000;

/** One browser's stream of server-sent events. A slow reader misses what a newer event of the same kind replaces. */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #clock: Clock;
  readonly #waiting: Map<keyof Messages, string> = new Map();
  #cancelCut: CancelTimer | undefined;

  constructor(response: ServerResponse, clock: Clock) {
    this.#response = response;
    this.#clock = clock;
    response.writeHead(200, {
      ...securityHeaders,
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // nginx holds a stream back without it.
      "x-accel-buffering": "no",
    });
    // Whoever has gone needs no event; `close` tells of it.
    response.on("error", () => {});
    response.on("drain", () => this.#drained());
    response.on("close", () => this.#cancelCut?.());
  }

  /** Sends an event whose data are `text`, in one line. */
  send(kind: keyof Messages, text: string): void {
    if (this.#response.destroyed || this.#response.writableEnded) return;
    if (this.#cancelCut !== undefined) {
      this.#waiting.set(kind, text);
      return;
    }
    if (this.#response.write(`event: ${kind}\ndata: ${text}\n\n`)) return;
    this.#cancelCut = this.#clock.at(this.#clock.now() + slowMs, () => this.#response.destroy());
  }

  end(): void {
    this.#response.end();
  }

  #drained(): void {
    this.#cancelCut?.();
    this.#cancelCut = undefined;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [kind, text] of waiting) this.send(kind, text);
  }
}
