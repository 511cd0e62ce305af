import type { Readable } from "node:stream";
import type { CancelTimer, Clock } from "../clock.ts";
import type { Cause } from "../errors.ts";
import { sleep } from "../waiting.ts";
import type { HealthCheck } from "./health-checks.ts";

export interface HealthOptions {
  readonly checks: readonly HealthCheck[];
  readonly periodMs: number;
  readonly timeoutMs: number;
  /** So many failures in a row make it ill: one is a hiccup. */
  readonly failures: number;
  /** How long a program may take to become well for the first time. */
  readonly startMs: number;
  /** How long it may be silent on its heartbeat, if it has one. */
  readonly heartbeatMs: number;
}

export type HealthState =
  | { readonly at: "starting" }
  | { readonly at: "well" }
  | { readonly at: "ill"; readonly cause: Extract<Cause, "unhealthy" | "hung">; readonly why: string };

const well: HealthState = { at: "well" };

/** Watches one run of the program. Without anything to look at it is well from the start. */
export class Health {
  readonly #clock: Clock;
  readonly #options: HealthOptions;
  readonly #listeners: Set<() => void> = new Set();
  readonly #stopped = new AbortController();
  readonly #startedAt: number;
  #state: HealthState = { at: "starting" };
  /** Of the checks: how often they failed in a row, and whether they ever passed. */
  #failuresInARow = 0;
  #checksPassed: boolean;
  #heartbeatSeen: boolean;
  #cancelSilence: CancelTimer = () => {};

  constructor(clock: Clock, options: HealthOptions, heartbeats: Readable | undefined) {
    this.#clock = clock;
    this.#options = options;
    this.#startedAt = clock.now();
    this.#checksPassed = options.checks.length === 0;
    this.#heartbeatSeen = heartbeats === undefined;
    if (!this.#checksPassed) void this.#check();
    if (heartbeats !== undefined) this.#listen(heartbeats);
    this.#passed();
  }

  get state(): HealthState {
    return this.#state;
  }

  /** Resolves when the state is this one; not at all if that never comes. */
  async until<A extends HealthState["at"]>(at: A): Promise<HealthState & { at: A }> {
    while (this.#state.at !== at) {
      await new Promise<void>((resolve) => {
        const done = (): void => {
          this.#listeners.delete(done);
          resolve();
        };
        this.#listeners.add(done);
      });
    }
    return this.#state as HealthState & { at: A };
  }

  stop(): void {
    this.#stopped.abort();
    this.#cancelSilence();
  }

  /** Never rejects. */
  async #check(): Promise<void> {
    const { checks, periodMs, timeoutMs, failures, startMs } = this.#options;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const troubles = await Promise.all(checks.map((check) => check(timeoutMs)));
      if (signal.aborted) return;
      const why = troubles.find((trouble) => trouble !== undefined);
      if (why === undefined) {
        this.#failuresInARow = 0;
        this.#checksPassed = true;
        this.#passed();
      } else {
        this.#failuresInARow++;
        const patient = !this.#checksPassed && this.#clock.now() - this.#startedAt < startMs;
        if (this.#failuresInARow >= failures && !patient)
          this.#become({ at: "ill", cause: "unhealthy", why });
      }
      await sleep(this.#clock, periodMs, signal).catch(() => {});
    }
  }

  #listen(heartbeats: Readable): void {
    const { heartbeatMs, startMs } = this.#options;
    const expectWithin = (ms: number): void => {
      this.#cancelSilence();
      if (this.#stopped.signal.aborted) return;
      this.#cancelSilence = this.#clock.at(this.#clock.now() + ms, () => {
        this.#heartbeatSeen = false;
        this.#become({ at: "ill", cause: "hung", why: `no heartbeat for ${ms} ms` });
      });
    };
    heartbeats.on("data", () => {
      this.#heartbeatSeen = true;
      expectWithin(heartbeatMs);
      this.#passed();
    });
    // A descriptor that is closed is silence.
    heartbeats.on("error", () => {});
    expectWithin(Math.max(startMs, heartbeatMs));
  }

  /** One of them is well; so is the program if all are. */
  #passed(): void {
    if (this.#checksPassed && this.#heartbeatSeen && this.#failuresInARow === 0) this.#become(well);
  }

  #become(state: HealthState): void {
    if (state.at === this.#state.at || this.#stopped.signal.aborted) return;
    this.#state = state;
    for (const listener of [...this.#listeners]) listener();
  }
}
