import type { CancelTimer, Clock } from "../clock.ts";

/** A clock that moves only when told to. Timers fire in the order of their instants. */
export class ManualClock implements Clock {
  #now = 0;
  #sequence = 0;
  #timers: { readonly instant: number; readonly order: number; readonly task: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  at(instant: number, task: () => void): CancelTimer {
    const timer = { instant, order: this.#sequence++, task };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  date(): Date {
    return new Date(this.#now);
  }

  random(): number {
    return 0.5;
  }

  /** How many timers wait. A test that ends with some has found a leak. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Moves time on by `ms`, letting everything that a timer set off settle before the next one fires. */
  async advance(ms: number): Promise<void> {
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
    this.#now = end;
  }

  /** Moves time on without running a timer, as a suspended machine or a blocked thread sees it. */
  jump(ms: number): void {
    this.#now += ms;
  }
}

/** Lets every promise that is ready settle: a macrotask runs only after the microtasks. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
