import type { CancelTimer, Clock } from "../clock.ts";
import { type Cause, EndedError } from "../errors.ts";
import { type Compare, created } from "../etcd/ops.ts";

/**
 * One unbroken spell of leadership. It is a deadline, not a flag: whether it still holds is computed at the moment of
 * asking. Before a side effect ask `remainingMs`; give `token` to whatever can refuse an older one.
 */
export class Term {
  /** The fencing token: grows from term to term within one history of the store. */
  readonly token: bigint;
  /** The leader's key. */
  readonly key: string;
  readonly #clock: Clock;
  readonly #deadline: () => number;
  readonly #ended = new AbortController();
  #endCause: Cause | undefined;
  #cancelTimer: CancelTimer = () => {};

  /** @internal `onExpired` is called when the deadline, which moves while all is well, has passed. */
  constructor(of: {
    readonly clock: Clock;
    readonly key: string;
    readonly token: bigint;
    readonly deadline: () => number;
    readonly onExpired: () => void;
  }) {
    this.token = of.token;
    this.key = of.key;
    this.#clock = of.clock;
    this.#deadline = of.deadline;
    this.#watch(of.onExpired);
  }

  /** Aborts when the term ends, with an `EndedError` that says why. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Milliseconds for which the term still holds without another word from etcd, computed now; 0 once it has ended. */
  get remainingMs(): number {
    // The clock is read first: a deadline that was found passed after that counts, whatever was held up in between.
    const now = this.#clock.now();
    return this.#endCause === undefined ? Math.max(0, this.#deadline() - now) : 0;
  }

  /**
   * A comparison for an etcd transaction of yours: the transaction takes effect only while this term's key exists.
   */
  guard(): Compare {
    return created(this.key, this.token);
  }

  /** @internal Ends the term, once; what it says of itself changes before anybody hears of it. */
  end(cause: Cause): void {
    if (this.#endCause !== undefined) return;
    this.#endCause = cause;
    this.#cancelTimer();
    this.#ended.abort(new EndedError("TERM_ENDED", cause, `the term ended: ${cause}`));
  }

  #watch(onExpired: () => void): void {
    this.#cancelTimer = this.#clock.at(this.#deadline(), () => {
      if (this.#clock.now() >= this.#deadline()) onExpired();
      else this.#watch(onExpired);
    });
  }
}
