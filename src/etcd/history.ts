import type { Logger } from "../log.ts";
import type { ResponseHeader } from "./gen/etcd_pb.ts";

/** What an answer told that cannot be of the store known so far. */
export interface StoreRestored {
  /** The highest revision that had been shown when the request was sent. */
  readonly knownRevision: bigint;
  /** The revision of the answer. */
  readonly revision: bigint;
  /** Whether the answer comes from another cluster altogether. */
  readonly otherCluster: boolean;
}

/** The store as far as answers have shown it. A jump back starts another history. */
export interface Known {
  readonly history: number;
  readonly clusterId: bigint;
  readonly revision: bigint;
}

/**
 * Notices a store that went back, as after a restore from backup: a linearizable answer is never older than what was
 * known when its request was sent. Later knowledge says nothing, since answers overtake each other.
 */
export class History {
  readonly #logger: Logger;
  readonly #listeners: Set<(what: StoreRestored) => void> = new Set();
  #known: Known = { history: 0, clusterId: 0n, revision: 0n };

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** What is known now: take it before sending, and give it to `check` with the answer. */
  get known(): Known {
    return this.#known;
  }

  onRestored(listener: (what: StoreRestored) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Compares a linearizable answer with what was known when its request was sent. */
  check(known: Known, { clusterId, revision }: ResponseHeader): void {
    // A request from before the jump, answered after it: the jump has been told.
    if (known.history !== this.#known.history) return;
    const otherCluster = known.clusterId !== 0n && clusterId !== known.clusterId;
    if (otherCluster || revision < known.revision) {
      this.#known = { history: known.history + 1, clusterId, revision };
      const what: StoreRestored = { knownRevision: known.revision, revision, otherCluster };
      this.#logger.error(
        { ...what, clusterId },
        "etcd's store went back or is another one: restored from a backup?",
      );
      for (const listener of [...this.#listeners]) listener(what);
    } else if (revision > this.#known.revision || this.#known.clusterId === 0n) {
      this.#known = { history: known.history, clusterId, revision };
    }
  }
}
