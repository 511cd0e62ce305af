import type { ServerResponse } from "node:http";
import type { Clock } from "../clock.ts";
import { json } from "./answer.ts";
import { EventStream } from "./event-stream.ts";
import type { Messages } from "./messages.ts";

/** More browser tabs than any room has screens; each costs a connection and what it has not yet read. */
const mostViewers = 128;

/** Whoever looks, each by a stream of events, at all elections in short and at one of them. */
export class Viewers {
  readonly #clock: Clock;
  readonly #streams: Map<EventStream, string | undefined> = new Map();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get full(): boolean {
    return this.#streams.size >= mostViewers;
  }

  /** The elections that somebody looks at. */
  get watched(): ReadonlySet<string> {
    return new Set([...this.#streams.values()].filter((election) => election !== undefined));
  }

  /** Opens a stream for somebody who looks at `election`. */
  add(response: ServerResponse, election: string | undefined): EventStream {
    const stream = new EventStream(response, this.#clock);
    this.#streams.set(stream, election);
    response.once("close", () => this.#streams.delete(stream));
    return stream;
  }

  [Symbol.iterator](): IterableIterator<[stream: EventStream, election: string | undefined]> {
    return this.#streams.entries();
  }

  /** Sends to all, or to those who look at `election`. */
  tell<K extends keyof Messages>(kind: K, message: Messages[K], election?: string): void {
    if (this.#streams.size === 0) return;
    const text = json(message);
    for (const [stream, watched] of this.#streams) {
      if (election === undefined || watched === election) stream.send(kind, text);
    }
  }

  end(): void {
    for (const stream of this.#streams.keys()) stream.end();
  }
}
