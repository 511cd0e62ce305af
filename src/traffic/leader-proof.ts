import type { CancelTimer, Clock } from "../clock.ts";
import type { Line } from "../concurrency/line.ts";

/**
 * A look at the clock takes as long as passing on a small request. What it showed is good for one step of the time that
 * counts suspension; where nothing was passed on for longer, the clock is looked at before the next piece is.
 */
const lookMs = 10;

/**
 * For how long the leader that a line shows may be taken for the leader: a while from the sending of the last read that
 * confirmed it. An instant to compare with, not a flag: whoever was stopped for a minute finds that it has passed.
 */
export class LeaderProof {
  readonly #line: Line;
  readonly #clock: Clock;
  readonly #onChanged: () => void;
  #maxStaleMs: number;
  #forget: () => void;
  #cancelTimer: CancelTimer = () => {};
  #lookedAt = Number.NEGATIVE_INFINITY;
  #now: number;

  /** `onChanged` is called when it has passed, and when it stands again. */
  constructor(line: Line, clock: Clock, maxStaleMs: number, onChanged: () => void) {
    this.#line = line;
    this.#clock = clock;
    this.#maxStaleMs = maxStaleMs;
    this.#onChanged = onChanged;
    this.#now = clock.now();
    this.#forget = line.rely(maxStaleMs, () => this.#confirmed());
    this.#watch();
  }

  get maxStaleMs(): number {
    return this.#maxStaleMs;
  }

  set maxStaleMs(ms: number) {
    if (ms === this.#maxStaleMs) return;
    this.#maxStaleMs = ms;
    this.#forget();
    this.#forget = this.#line.rely(ms, () => this.#confirmed());
    this.#confirmed();
  }

  /** Whether anything may be passed on now. */
  get stands(): boolean {
    return this.now() < this.#until;
  }

  /** The instant, a few milliseconds old at most. */
  now(): number {
    const look = performance.now();
    if (look - this.#lookedAt >= lookMs) {
      this.#lookedAt = look;
      this.#now = this.#clock.now();
    }
    return this.#now;
  }

  close(): void {
    this.#forget();
    this.#cancelTimer();
  }

  get #until(): number {
    return this.#line.confirmedAt + this.#maxStaleMs;
  }

  #confirmed(): void {
    this.#watch();
    this.#onChanged();
  }

  /** Wakes up when the proof passes, unless it is renewed before. */
  #watch(): void {
    this.#cancelTimer();
    if (this.#until <= this.#clock.now()) return;
    this.#cancelTimer = this.#clock.at(this.#until, () => this.#onChanged());
  }
}
