import type { CancelTimer, Clock } from "../clock.ts";
import { badOption, SuccessionError } from "../errors.ts";

/**
 * Says whether the service is well: resolves or returns; `false`, throwing and taking too long count as not. It should
 * stop when its signal aborts, which is after `timeoutMs`.
 */
export type HealthProbe = (asked: { readonly signal: AbortSignal }) => unknown;

/** When a member counts as well enough to stand and to lead. */
export interface CheckupOptions {
  readonly check: HealthProbe;
  /** Milliseconds from one check to the next. @defaultValue 2000 */
  readonly everyMs?: number;
  /** Milliseconds that a check may take; it then counts as failed, and the next begins when it has ended. @defaultValue 1000 */
  readonly timeoutMs?: number;
  /** So many failures in a row make a healthy member unhealthy. @defaultValue 3 */
  readonly unhealthyAfter?: number;
  /** So many successes in a row make an unhealthy member healthy. @defaultValue 2 */
  readonly healthyAfter?: number;
}

export type CheckedCheckup = Required<CheckupOptions>;

/** The fields of `CheckupOptions`. */
export const checkupFields = ["check", "everyMs", "timeoutMs", "unhealthyAfter", "healthyAfter"] as const;

/** Throws `BAD_OPTION` naming the field, the rule and the value. */
export function checkCheckup(options: CheckupOptions): CheckedCheckup {
  const { check, everyMs = 2_000, timeoutMs = 1_000, unhealthyAfter = 3, healthyAfter = 2 } = options;
  if (typeof check !== "function") throw badOption("health.check", "a function", check);
  for (const [field, ms] of Object.entries({ everyMs, timeoutMs })) {
    if (!(Number.isFinite(ms) && ms > 0)) throw badOption(`health.${field}`, "milliseconds above 0", ms);
  }
  for (const [field, count] of Object.entries({ unhealthyAfter, healthyAfter })) {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw badOption(`health.${field}`, "an integer of 1 or more", count);
    }
  }
  return { check, everyMs, timeoutMs, unhealthyAfter, healthyAfter };
}

export interface CheckupSurroundings {
  readonly clock: Clock;
  /** Told of every change from healthy to unhealthy and back, with the reason. */
  readonly onChanged: (trouble: string | undefined) => void;
}

/** Asks the service again and again whether it is well. It counts as well until it has failed often enough. */
export class Checkup {
  readonly #options: CheckedCheckup;
  readonly #surroundings: CheckupSurroundings;
  #cancelNext: CancelTimer = () => {};
  #stopped = false;
  /** A check that has not settled: never are two under way at once. */
  #underWay: AbortController | undefined;
  #failures = 0;
  #successes = 0;
  #trouble: string | undefined;

  /** It checks at once, and until `stop`. */
  constructor(options: CheckedCheckup, surroundings: CheckupSurroundings) {
    this.#options = options;
    this.#surroundings = surroundings;
    this.#check();
  }

  /** Why the service counts as unhealthy; `undefined` while it counts as healthy. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelNext();
    this.#underWay?.abort(new SuccessionError("CLOSED", "the member has left"));
  }

  #check(): void {
    if (this.#stopped) return;
    const { clock } = this.#surroundings;
    const { everyMs, timeoutMs } = this.#options;
    // Not all members of a machine at the same moment.
    this.#cancelNext = clock.at(clock.now() + everyMs * (0.9 + clock.random() / 5), () => this.#check());
    if (this.#underWay !== undefined) {
      this.#failed("the last check has not ended yet");
      return;
    }
    const over = new AbortController();
    this.#underWay = over;
    const reason = `the check took longer than ${timeoutMs} ms`;
    let late = false;
    const cancelLate = clock.at(clock.now() + timeoutMs, () => {
      late = true;
      over.abort(new SuccessionError("TIMEOUT", reason));
      if (!this.#stopped) this.#failed(reason);
    });
    void this.#ask(over.signal).then((trouble) => {
      cancelLate();
      this.#underWay = undefined;
      if (late || this.#stopped) return;
      if (trouble === undefined) this.#succeeded();
      else this.#failed(trouble);
    });
  }

  /** Why the check says no. Never rejects. */
  async #ask(signal: AbortSignal): Promise<string | undefined> {
    try {
      return (await this.#options.check({ signal })) === false ? "the check says no" : undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #failed(reason: string): void {
    this.#successes = 0;
    this.#failures++;
    const was = this.#trouble;
    if (was === undefined && this.#failures < this.#options.unhealthyAfter) return;
    this.#trouble = reason;
    if (was === undefined) this.#surroundings.onChanged(reason);
  }

  #succeeded(): void {
    this.#failures = 0;
    this.#successes++;
    if (this.#trouble === undefined || this.#successes < this.#options.healthyAfter) return;
    this.#trouble = undefined;
    this.#surroundings.onChanged(undefined);
  }
}
