import type { CancelTimer, Clock } from "../clock.ts";

/** Runs a task when asked to: at once, but not twice within `everyMs`; then once for all that was asked meanwhile. */
export class Throttle {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #task: () => void;
  #cancel: CancelTimer | undefined;
  #asked = false;

  constructor(clock: Clock, everyMs: number, task: () => void) {
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#task = task;
  }

  ask(): void {
    if (this.#cancel !== undefined) {
      this.#asked = true;
      return;
    }
    this.#cancel = this.#clock.at(this.#clock.now() + this.#everyMs, () => {
      this.#cancel = undefined;
      if (this.#asked) this.ask();
    });
    this.#asked = false;
    this.#task();
  }

  /** Forgets what was asked. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#asked = false;
  }
}
