import type { Messages } from "../messages.ts";

/** The server says something every 2 s; after this without a word the connection is dead. */
const silentMs = 7_000;
const firstRetryMs = 300;
const longestRetryMs = 4_000;
/**
 * A tab that nobody sees lets go of its stream: browsers allow six connections to a server, and with all of them taken
 * by streams neither a further tab nor a command would get through.
 */
const unseenMs = 60_000;

const kinds: readonly (keyof Messages)[] = ["hello", "elections", "overview", "leases", "beat"];

export interface ConnectionListener {
  message<K extends keyof Messages>(kind: K, message: Messages[K]): void;
  lost(): void;
}

/**
 * The stream of events. It opens itself again after every loss: `EventSource` alone gives up for good where the answer is
 * no stream, as a proxy's is while the server restarts, and never notices a connection that is merely silent.
 */
export class Connection {
  readonly #listener: ConnectionListener;
  #source: EventSource | undefined;
  #timer = 0;
  #unseenTimer = 0;
  #failures = 0;
  #election: string | undefined;

  constructor(listener: ConnectionListener) {
    this.#listener = listener;
    for (const event of ["online", "pageshow"]) addEventListener(event, () => this.#again());
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.#unseenTimer);
      if (document.visibilityState === "visible") this.#again();
      else this.#unseenTimer = setTimeout(() => this.#rest(), unseenMs);
    });
  }

  /** Follows this election, and all of them in short. */
  open(election: string | undefined): void {
    this.#election = election;
    this.#failures = 0;
    this.#connect();
  }

  #connect(): void {
    this.#source?.close();
    const query = this.#election === undefined ? "" : `?election=${encodeURIComponent(this.#election)}`;
    const source = new EventSource(`events${query}`);
    this.#source = source;
    this.#expect();
    for (const kind of kinds) {
      source.addEventListener(kind, ({ data }: MessageEvent<string>) => {
        if (source !== this.#source) return;
        this.#failures = 0;
        this.#expect();
        this.#listener.message(kind, JSON.parse(data));
      });
    }
    source.addEventListener("error", () => {
      if (source === this.#source) this.#lost();
    });
  }

  #expect(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(), silentMs);
  }

  /** Until somebody looks again. */
  #rest(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = undefined;
    this.#listener.lost();
  }

  #lost(): void {
    this.#rest();
    const ms = Math.min(longestRetryMs, firstRetryMs * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.#connect(), ms * (0.75 + Math.random() / 2));
  }

  /** At once where a try is only waited for. */
  #again(): void {
    if (this.#source === undefined) this.#connect();
  }
}
