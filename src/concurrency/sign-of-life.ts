import type { Clock } from "../clock.ts";

/** How often the main thread says that it lives. Cheap, and often enough for a watchdog that has 100 ms. */
const beatMs = 50;

/** When the main thread's event loop last turned, in memory that the renewal thread reads. */
export class SignOfLife {
  readonly memory: SharedArrayBuffer;
  readonly #word: BigInt64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#word = new BigInt64Array(memory);
  }

  give(now: number): void {
    Atomics.store(this.#word, 0, BigInt(Math.floor(now * 1_000)));
  }

  /** The instant of the last sign. */
  get at(): number {
    return Number(Atomics.load(this.#word, 0)) / 1_000;
  }
}

/** Gives signs of life while it runs; `onBlocked` hears how long there was none, where that was a second or more. */
export class Heartbeat {
  readonly #timer: NodeJS.Timeout;

  constructor(clock: Clock, life: SignOfLife, onBlocked: (blockedMs: number) => void) {
    let last = clock.now();
    life.give(last);
    // Not the clock's timer, which would keep the process alive. Test environments for browsers return a number.
    this.#timer = setInterval(() => {
      const now = clock.now();
      life.give(now);
      const blockedMs = now - last - beatMs;
      last = now;
      if (blockedMs >= 1_000) onBlocked(blockedMs);
    }, beatMs);
    this.#timer.unref?.();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
