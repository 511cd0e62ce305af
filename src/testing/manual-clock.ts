import type { CancelTimer, Clock } from "../clock.ts";
import { badOption } from "../errors.ts";
import { checkOptions } from "./arguments.ts";

/** How a manual clock draws its random numbers. */
export interface ManualClockOptions {
  /** A whole number; the same one gives the same numbers again. @defaultValue none: every number is 0.5 */
  readonly seed?: number;
}

/**
 * A clock that moves only when told to: it starts at 0, and its timers fire in the order of their instants, by
 * `advance` alone. Timers of Node.js, and so sockets, do not follow it.
 */
export class ManualClock implements Clock {
  #now = 0;
  #random: number | undefined;
  #sequence = 0;
  #timers: { readonly instant: number; readonly order: number; readonly task: () => void }[] = [];

  /** Throws `BAD_OPTION`. */
  constructor(options: ManualClockOptions = {}) {
    checkOptions(options, ["seed"]);
    const { seed } = options;
    if (seed !== undefined && !Number.isSafeInteger(seed)) throw badOption("seed", "a whole number", seed);
    this.#random = seed === undefined ? undefined : seed >>> 0;
  }

  /** Milliseconds since the clock was made. */
  now(): number {
    return this.#now;
  }

  /** Runs `task` once when the clock has been advanced to `instant`. The result takes it back. */
  at(instant: number, task: () => void): CancelTimer {
    const timer = { instant, order: this.#sequence++, task };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** The instant as a date: 0 is the beginning of 1970. */
  date(): Date {
    return new Date(this.#now);
  }

  /** A number in [0, 1): 0.5, or by the seed the next of its row (mulberry32). */
  random(): number {
    if (this.#random === undefined) return 0.5;
    this.#random = (this.#random + 0x6d2b79f5) >>> 0;
    let mixed = this.#random;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** How many timers wait. A test that ends with some has found a leak. */
  get pending(): number {
    return this.#timers.length;
  }

  /**
   * Moves time on by `ms`, letting everything that a timer set off settle before the next one fires. 0 only lets things
   * settle. Throws `BAD_OPTION`.
   */
  async advance(ms: number): Promise<void> {
    checkStep(ms);
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const next = this.#timers
        .filter((timer) => timer.instant <= end)
        .sort((a, b) => a.instant - b.instant || a.order - b.order)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#now = Math.max(this.#now, next.instant);
      next.task();
      await settle();
    }
    this.#now = Math.max(this.#now, end);
  }

  /**
   * Moves time on without running a timer, as a suspended machine or a blocked thread sees it; the next `advance` runs
   * what is due. Throws `BAD_OPTION`.
   */
  jump(ms: number): void {
    checkStep(ms);
    this.#now += ms;
  }
}

function checkStep(ms: number): void {
  if (!Number.isFinite(ms) || ms < 0) throw badOption("ms", "a number of milliseconds, 0 or more", ms);
}

/** Lets every promise that is ready settle: a macrotask runs only after the microtasks. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
