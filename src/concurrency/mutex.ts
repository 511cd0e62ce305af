import { SuccessionError } from "../errors.ts";
import type { CallOptions } from "../etcd/etcd.ts";
import { Election } from "./election.ts";
import type { Session } from "./session.ts";
import type { Term } from "./term.ts";

/** What holds a mutex: ends, with its signal, when the mutex is no longer proven ours. */
export type Held = Term;

/** A lock on the keys of Go's `concurrency.Mutex`: both sides exclude each other. */
export class Mutex {
  readonly #election: Election;

  constructor(session: Session, name: string) {
    this.#election = new Election(session, name);
  }

  /** The own key, once it has been put. */
  get key(): string | undefined {
    return this.#election.key;
  }

  /** Waits until the mutex is ours. */
  lock(options: { readonly signal?: AbortSignal } = {}): Promise<Held> {
    return this.#election.campaign("", options);
  }

  /** Takes the mutex if it is free; rejects with `LOCKED` if somebody else holds it or waits for it. */
  async tryLock(options: { readonly signal?: AbortSignal } = {}): Promise<Held> {
    return await this.#election.campaignIfFree("", options);
  }

  /**
   * Frees the mutex. Rejects with `NOT_LEADER` if it was not ours. If etcd does not answer, it is not ours any more all
   * the same, and a second call tries again to free it for others.
   */
  async unlock(options: CallOptions = {}): Promise<void> {
    if (!this.#election.held) throw new SuccessionError("NOT_LEADER", "the mutex is not held");
    await this.#election.resign(options);
  }
}
