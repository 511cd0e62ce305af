import type { CancelTimer, Clock } from "../clock.ts";
import type { ResponseHeader } from "../etcd/gen/etcd_pb.ts";
import type { Change, Mvcc } from "./mvcc.ts";
import type { StatusError } from "./status-error.ts";
import { type WatchSink, type WatchSource, WatchStream } from "./watch-stream.ts";

export interface WatchHubOptions {
  readonly store: Mvcc;
  readonly clock: Clock;
  readonly header: (revision: bigint) => ResponseHeader;
  readonly maxResponseBytes: number;
  readonly progressIntervalMs: number;
}

/** Hands every change to the watches it concerns: at once, in order, a whole revision in one answer. */
export class WatchHub implements WatchSource {
  readonly store: Mvcc;
  readonly maxResponseBytes: number;
  readonly header: (revision: bigint) => ResponseHeader;
  readonly #clock: Clock;
  readonly #progressIntervalMs: number;
  readonly #streams = new Set<WatchStream>();
  readonly #queue: (readonly Change[])[] = [];
  #delivering = false;
  #cancelProgress: CancelTimer | undefined;

  constructor(options: WatchHubOptions) {
    this.store = options.store;
    this.maxResponseBytes = options.maxResponseBytes;
    this.header = options.header;
    this.#clock = options.clock;
    this.#progressIntervalMs = options.progressIntervalMs;
  }

  open(sink: WatchSink, requiresLeader: boolean): WatchStream {
    const stream = new WatchStream(this, sink, requiresLeader);
    this.#streams.add(stream);
    return stream;
  }

  /**
   * Delivers the changes of one revision. A sink may write to the store in turn; what that
   * changes waits until every stream has seen the present revision.
   */
  publish(changes: readonly Change[]): void {
    this.#queue.push(changes);
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        const revision = next[0]?.now.modRevision as bigint;
        for (const stream of [...this.#streams]) stream.deliver(next, revision);
      }
    } finally {
      this.#delivering = false;
    }
  }

  /** Ends every stream. */
  breakAll(error: StatusError): void {
    for (const stream of [...this.#streams]) stream.break(error);
  }

  /** Ends the streams that do not want to go on without a leader. */
  loseLeader(error: StatusError): void {
    for (const stream of [...this.#streams]) {
      if (stream.requiresLeader) stream.break(error);
    }
  }

  scheduleProgress(): void {
    this.#cancelProgress ??= this.#clock.at(this.#clock.now() + this.#progressIntervalMs, () => {
      this.#cancelProgress = undefined;
      const asked = [...this.#streams].map((stream) => stream.notifyProgress());
      if (asked.includes(true)) this.scheduleProgress();
    });
  }

  forget(stream: WatchStream): void {
    this.#streams.delete(stream);
    if (this.#streams.size === 0) this.#stopProgress();
  }

  #stopProgress(): void {
    this.#cancelProgress?.();
    this.#cancelProgress = undefined;
  }
}
