import type { Clock } from "../clock.ts";
import type { Term } from "../concurrency/term.ts";
import { type Cause, EndedError } from "../errors.ts";
import { onAbort } from "../waiting.ts";

/** The leave to serve one request as the leader. */
export interface Admission {
  /** The term by which it is served. `term.signal` aborts when the lead is over, also when it is handed over in order. */
  readonly term: Term;
  /** The fencing token: give it to whatever can refuse an older one. */
  readonly token: bigint;
  /**
   * Aborts when this request must stop: with the term where the lead was lost; where it is given up in order, when the
   * time for requests to finish is over.
   */
  readonly signal: AbortSignal;
}

/** A request that was let in, as the one who let it in sees it. */
export interface Admitted {
  /** Goes on by itself for as long as the client likes, so it is told at once that the term is over. */
  readonly lasting: boolean;
  /** Ends its connection. */
  cut(): void;
  /** The answer, if it has not begun, is the last one on its connection. */
  closeAfter(): void;
}

interface UnderWay {
  readonly admitted: Admitted;
  readonly stop: AbortController;
}

/** Ends by which others may lead at once; with any other the key still stands, and keeps them from it. */
const lost: ReadonlySet<Cause> = new Set([
  "deadline",
  "lease-gone",
  "key-gone",
  "hung",
  "store-restored",
  "closed",
]);

/** The requests in flight, and their end with the term. */
export class Admissions {
  readonly #clock: Clock;
  readonly #underWay: Set<UnderWay> = new Set();
  readonly #looking: Set<() => void> = new Set();
  #watched: Term | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many requests are in flight. */
  get size(): number {
    return this.#underWay.size;
  }

  /** Lets a request in. The second function is to be called when it has ended. */
  admit(term: Term, admitted: Admitted): readonly [Admission, () => void] {
    this.#watch(term);
    const underWay: UnderWay = { admitted, stop: new AbortController() };
    this.#underWay.add(underWay);
    const admission = { term, token: term.token, signal: underWay.stop.signal };
    return [admission, () => this.#ended(underWay)];
  }

  /** What is answered from now on is the last on its connection. */
  closeAfter(): void {
    for (const { admitted } of this.#underWay) admitted.closeAfter();
  }

  /**
   * Waits for the requests that are in flight now. What is left after `budgetMs`, or when `hurry` aborts, is told to stop
   * and its connection is cut. Resolves to whether all have ended by themselves.
   */
  async drain(budgetMs: number, hurry?: AbortSignal): Promise<boolean> {
    const own = [...this.#underWay];
    const over = new AbortController();
    const cancel = this.#clock.at(this.#clock.now() + budgetMs, () => over.abort());
    const forget = onAbort(hurry, () => over.abort());
    await this.#whenGone(own, over.signal);
    cancel();
    forget();
    const late = own.filter((each) => this.#underWay.has(each));
    for (const { stop } of late)
      stop.abort(new EndedError("TERM_ENDED", "resigned", "no time is left to finish"));
    for (const { admitted } of late) admitted.cut();
    return late.length === 0;
  }

  /**
   * The same, and then waits for those that were told to stop, for as long as the key protects them: a handler that is
   * known to run still is not over, and one that never ends must not keep the member from coming back.
   */
  async finish(budgetMs: number, hurry: AbortSignal): Promise<boolean> {
    const own = [...this.#underWay];
    const inTime = await this.drain(budgetMs, hurry);
    await this.#whenGone(own, hurry);
    return inTime;
  }

  /** Resolves when these have ended, or the signal aborts. */
  #whenGone(own: readonly UnderWay[], signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        this.#looking.delete(look);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const look = (): void => {
        if (!own.some((each) => this.#underWay.has(each))) end();
      };
      this.#looking.add(look);
      onAbort(signal, end);
      look();
    });
  }

  #ended(underWay: UnderWay): void {
    if (!this.#underWay.delete(underWay)) return;
    for (const look of [...this.#looking]) look();
  }

  /** One listener a term, however many requests it serves. */
  #watch(term: Term): void {
    if (this.#watched === term) return;
    this.#watched = term;
    onAbort(term.signal, () => {
      const { reason } = term.signal;
      const all = !(reason instanceof EndedError) || lost.has(reason.endCause);
      for (const { admitted, stop } of [...this.#underWay]) if (all || admitted.lasting) stop.abort(reason);
    });
  }
}
