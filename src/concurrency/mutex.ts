import { SuccessionError } from "../errors.ts";
import type { CallOptions } from "../etcd/etcd.ts";
import { onAbort, unlessAborted } from "../waiting.ts";
import { Election } from "./election.ts";
import { checkElection } from "./naming.ts";
import type { Session } from "./session.ts";
import type { Term } from "./term.ts";

/** What holds a mutex: ends, with its signal, when the mutex is no longer proven ours. */
export type Held = Term;

/**
 * A lock on the keys of Go's `concurrency.Mutex`: both sides exclude each other. A session has one key in it, so tasks
 * that share a session take turns here before they ask etcd; a task that locks twice waits for itself.
 */
export class Mutex {
  readonly #session: Session;
  readonly #election: Election;
  #held: Held | undefined;

  constructor(session: Session, name: string) {
    checkElection(name, "name");
    this.#session = session;
    this.#election = new Election(session, name);
  }

  /** The own key, once it has been put. */
  get key(): string | undefined {
    return this.#election.key;
  }

  /** Waits until the mutex is ours. */
  async lock(options: { readonly signal?: AbortSignal } = {}): Promise<Held> {
    options.signal?.throwIfAborted();
    return await this.#take(options.signal, () => this.#election.campaign("", options));
  }

  /** Takes the mutex if it is free; rejects with `LOCKED` if somebody else holds it or waits for it. */
  async tryLock(options: { readonly signal?: AbortSignal } = {}): Promise<Held> {
    options.signal?.throwIfAborted();
    const { election } = this.#election;
    if (queues.get(this.#session)?.has(election)) {
      throw new SuccessionError("LOCKED", `another task of this session holds ${election} or waits for it`);
    }
    return await this.#take(options.signal, () => this.#election.campaignIfFree("", options));
  }

  /**
   * Frees the mutex. Rejects with `NOT_LEADER` if it was not ours. If etcd does not answer, it is not ours any more all
   * the same, and a second call tries again to free it for others.
   */
  async unlock(options: CallOptions = {}): Promise<void> {
    const held = this.#held;
    if (held === undefined) throw new SuccessionError("NOT_LEADER", "the mutex is not held");
    await this.#election.resignTerm(held, options);
    if (this.#held === held) this.#held = undefined;
  }

  async #take(signal: AbortSignal | undefined, campaign: () => Promise<Held>): Promise<Held> {
    const free = await turn(this.#session, this.#election.election, signal);
    try {
      const held = await campaign();
      this.#held = held;
      onAbort(held.signal, free);
      return held;
    } catch (error) {
      free();
      throw error;
    }
  }
}

/** The tasks of each session that hold a mutex or wait for it, by its name. */
const queues: WeakMap<Session, Map<string, Set<Promise<void>>>> = new WeakMap();

/** Waits for this task's turn; the result ends it. */
async function turn(session: Session, name: string, signal: AbortSignal | undefined): Promise<() => void> {
  const names = queues.get(session) ?? new Map<string, Set<Promise<void>>>();
  queues.set(session, names);
  const queue = names.get(name) ?? new Set();
  names.set(name, queue);
  const before = [...queue];
  let resolve = (): void => {};
  const over = new Promise<void>((done) => {
    resolve = done;
  });
  queue.add(over);
  const free = (): void => {
    queue.delete(over);
    if (queue.size === 0) names.delete(name);
    resolve();
  };
  try {
    await unlessAborted(Promise.all(before), signal);
    return free;
  } catch (error) {
    free();
    throw error;
  }
}
