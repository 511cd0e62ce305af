import type { CancelTimer, Clock } from "../clock.ts";
import type { SignOfLife } from "./sign-of-life.ts";

/** How often it looks; 40 times a second only while somebody wants it. */
const lookMs = 25;
/** So many looks in a row without a sign of life make a blocked thread: two signs were due. */
const mostSilentLooks = 4;
/** How long before the end of what is proven a blocked thread is ended: the kernel needs a moment, too. */
const leadMs = 100;

/** What a blocked main thread must not outlive. */
export interface Watched {
  /** Whether its work acts as leader. */
  readonly acting: boolean;
  /** The instant until which it may. */
  readonly until: number;
}

/**
 * Ends the process whose main thread is blocked while its work acts as leader, before that is proven no longer: code
 * that blocks cannot be stopped in any other way.
 *
 * It counts its own looks, not the time: a process that was suspended as a whole gets the chance to step down by itself.
 */
export class Watchdog {
  readonly #clock: Clock;
  readonly #life: SignOfLife;
  readonly #watched: Set<Watched> = new Set();
  readonly #kill: (silentMs: number) => void;
  #cancelTimer: CancelTimer = () => {};
  #seenAt = 0;
  #silentLooks = 0;
  #lookedAt = 0;

  constructor(clock: Clock, life: SignOfLife, kill: (silentMs: number) => void) {
    this.#clock = clock;
    this.#life = life;
    this.#kill = kill;
  }

  add(watched: Watched): () => void {
    this.#watched.add(watched);
    if (this.#watched.size === 1) this.#next();
    return () => {
      this.#watched.delete(watched);
      if (this.#watched.size === 0) this.#cancelTimer();
    };
  }

  #next(): void {
    this.#cancelTimer = this.#clock.at(this.#clock.now() + lookMs, () => {
      this.#look();
      this.#next();
    });
  }

  #look(): void {
    const { at } = this.#life;
    const now = this.#clock.now();
    // A look that comes late was itself held up: what was counted before says nothing any more.
    const onTime = now - this.#lookedAt < 3 * lookMs;
    this.#silentLooks = at === this.#seenAt && onTime ? this.#silentLooks + 1 : 0;
    this.#seenAt = at;
    this.#lookedAt = now;
    if (this.#silentLooks < mostSilentLooks) return;
    const due = [...this.#watched].some(({ acting, until }) => acting && now >= until - leadMs);
    if (due) this.#kill(now - at);
  }
}
