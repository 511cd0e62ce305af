import type { CancelTimer, Clock } from "../clock.ts";

/** What no event tells, such as a leader that can be reached again, is tried so often, by one request for all. */
const tryMs = 100;

/** The requests that wait because nobody can take them now: so many at most. */
export class Holding {
  readonly #clock: Clock;
  readonly #most: number;
  readonly #wakes: Set<() => void> = new Set();
  #size = 0;
  #cancelTrying: CancelTimer | undefined;

  constructor(clock: Clock, most: number) {
    this.#clock = clock;
    this.#most = most;
  }

  get size(): number {
    return this.#size;
  }

  /** Takes a place; false if there is none. Each place wants its `leave`. */
  enter(): boolean {
    if (this.#size >= this.#most) return false;
    this.#size++;
    return true;
  }

  leave(): void {
    this.#size--;
  }

  /** Waits until there may be news, `ms` at most; `end` ends the wait. */
  pause(ms: number): { readonly over: Promise<void>; readonly end: () => void } {
    let cancel: CancelTimer = () => {};
    let end = (): void => {};
    const over = new Promise<void>((resolve) => {
      end = () => {
        cancel();
        this.#wakes.delete(end);
        resolve();
      };
    });
    cancel = this.#clock.at(this.#clock.now() + ms, end);
    this.#wakes.add(end);
    this.#cancelTrying ??= this.#tryLater();
    return { over, end };
  }

  /** Lets everybody look again, in the order in which they came. */
  wake(): void {
    for (const end of [...this.#wakes]) end();
  }

  #tryLater(): CancelTimer {
    return this.#clock.at(this.#clock.now() + tryMs, () => {
      this.#cancelTrying = undefined;
      const [first] = this.#wakes;
      if (this.#wakes.size > 1) this.#cancelTrying = this.#tryLater();
      first?.();
    });
  }
}
