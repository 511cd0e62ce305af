import type { CancelTimer, Clock } from "../clock.ts";
import type { Term } from "../concurrency/term.ts";

/** How often it looks whether the lease was renewed; the shim is behind by no more than this. */
const lookMs = 100;

/** What the kernel gets to end and reap a killed program before the deadline of its term. */
export function reapMs(ttlMs: number): number {
  return Math.max(100, ttlMs * 0.05);
}

/**
 * The instant at which the program of a term must be killed, whatever else happens. It moves while the term is renewed,
 * and stays where it was when the term ends.
 */
export class Leash {
  readonly #clock: Clock;
  readonly #term: Term;
  readonly #spareMs: number;
  readonly #moved: (killAt: number) => void;
  #killAt = Number.NEGATIVE_INFINITY;
  #cancelTimer: CancelTimer = () => {};

  /** `spareMs`: by how much the deadline comes after the end of the term that is not renewed, less the time to reap. */
  constructor(clock: Clock, term: Term, spareMs: number, moved: (killAt: number) => void) {
    this.#clock = clock;
    this.#term = term;
    this.#spareMs = spareMs;
    this.#moved = moved;
    this.#look();
  }

  get killAt(): number {
    return this.#killAt;
  }

  stop(): void {
    this.#cancelTimer();
  }

  #look(): void {
    // The clock first: the term's own reading of it comes later, and errs on the safe side.
    const now = this.#clock.now();
    const { remainingMs } = this.#term;
    if (remainingMs <= 0) return;
    const killAt = now + remainingMs + this.#spareMs;
    // Not for rounding errors.
    if (killAt > this.#killAt + 1) {
      this.#killAt = killAt;
      this.#moved(killAt);
    }
    this.#cancelTimer = this.#clock.at(now + lookMs, () => this.#look());
  }
}
