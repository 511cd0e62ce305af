import type { SystemClock } from "../clock.ts";
import { sleep } from "../waiting.ts";
import type { Enclosure } from "./enclosure.ts";
import { Shim } from "./shim.ts";
import type { ShimOrder } from "./shim-protocol.ts";

/** A shim that cannot stay alive must not become a fork bomb. */
const pauseMs = 1_000;

/** Sees to it that there is a shim at all times, and that it knows what to kill and when. */
export class Warden {
  readonly #clock: SystemClock;
  readonly #onLost: () => void;
  #shim: Shim;
  #held: { readonly enclosure: Enclosure; readonly until: number | null } | undefined;
  #closed = false;

  private constructor(clock: SystemClock, shim: Shim, onLost: () => void) {
    this.#clock = clock;
    this.#shim = shim;
    this.#onLost = onLost;
    void this.#replace();
  }

  /** Resolves when the first shim can be relied on. `onLost` is called when one has died, and another is started. */
  static async start(clock: SystemClock, onLost: () => void): Promise<Warden> {
    return new Warden(clock, await Shim.start(clock), onLost);
  }

  /** The process that would kill the program. */
  get pid(): number | undefined {
    return this.#shim.pid;
  }

  /** Entrusts a program to it, which may be about to start. */
  hold(enclosure: Enclosure, until: number | null): void {
    this.#held = { enclosure, until };
    this.#shim.tell({ on: "hold", enclosure, until });
  }

  /** Moves the instant at which the program is killed without the supervisor's doing; `null` for none. */
  until(instant: number | null): void {
    if (this.#held !== undefined) this.#held = { ...this.#held, until: instant };
    this.#shim.tell({ on: "until", instant });
  }

  /** Nothing is left of the program. */
  release(): void {
    this.#held = undefined;
    this.#shim.tell({ on: "release" });
  }

  /** Ends the shim, and with it what it still holds. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#shim.close();
  }

  get #order(): ShimOrder {
    return this.#held === undefined ? { on: "release" } : { on: "hold", ...this.#held };
  }

  /** Never rejects. */
  async #replace(): Promise<void> {
    for (;;) {
      await this.#shim.ended;
      if (this.#closed) return;
      this.#onLost();
      const next = await Shim.start(this.#clock, this.#order).catch(() => undefined);
      if (next === undefined) {
        await sleep(this.#clock, pauseMs);
        continue;
      }
      this.#shim = next;
      next.tell(this.#order);
      if (this.#closed) await next.close();
    }
  }
}
