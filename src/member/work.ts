import type { Clock } from "../clock.ts";
import type { Term } from "../concurrency/term.ts";
import type { Cause } from "../errors.ts";
import type { Logger } from "../log.ts";
import { onAbort } from "../waiting.ts";

/** The user's callbacks of a term. */
export interface Hooks {
  readonly prepare: ((term: Term) => unknown) | undefined;
  readonly lead: ((term: Term) => unknown) | undefined;
}

/** What of the work may be under way: a callback, or requests that are let finish. */
type Running = keyof Hooks | "requests";

export interface WorkOptions extends Hooks {
  readonly clock: Clock;
  readonly logger: Logger;
  /** While `prepare` runs nobody leads: after so many milliseconds the log says so, then ever more rarely. */
  readonly patienceMs: number;
  /** `prepare` is done, and the term still stands. */
  readonly onReady: () => void;
  /** It is the work that ends the term. */
  readonly onOver: (cause: Extract<Cause, "finished" | "failed" | "deadline">) => void;
}

/**
 * The user's work of one term. It may throw, hang or ignore its signal: the machine around it learns of each, by name,
 * and is never held up.
 */
export class Work {
  readonly #options: WorkOptions;
  #settled: Promise<void> = Promise.resolve();
  #running: keyof Hooks | undefined;
  #alongside = 0;

  constructor(options: WorkOptions) {
    this.#options = options;
  }

  /** What is under way. */
  get running(): Running | undefined {
    return this.#running ?? (this.#alongside > 0 ? "requests" : undefined);
  }

  /** Resolves when nothing is under way; never rejects. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** Runs `prepare`, then `lead`; without them the term is ready in the turn in which it begins. */
  start(term: Term): void {
    this.#settled = this.#run(term);
  }

  /** Counts what its companions still do as part of the work. None of the promises may reject. */
  alongside(stopping: readonly Promise<void>[]): void {
    for (const stopped of stopping) {
      this.#alongside++;
      void stopped.then(() => this.#alongside--);
    }
    this.#settled = Promise.all([this.#settled, ...stopping]).then(() => {});
  }

  /** Whether the work has settled before `ms` have passed; it has one turn at least. */
  async settledWithin(ms: number): Promise<boolean> {
    if (this.running === undefined) return true;
    const { clock } = this.#options;
    let cancel = (): void => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = clock.at(clock.now() + ms, () => resolve(false));
    });
    const inTime = await Promise.race([this.#settled.then(() => true), late]);
    cancel();
    return inTime;
  }

  async #run(term: Term): Promise<void> {
    const { lead, onReady, onOver } = this.#options;
    try {
      if (this.#options.prepare !== undefined) await this.#prepare(this.#options.prepare, term);
      if (term.remainingMs <= 0) {
        // Usually it has ended already; if its timer is late, it ends here rather than never begin.
        onOver("deadline");
        return;
      }
      onReady();
      // Telling may take time, or end the term: work never begins on one that is over.
      if (lead === undefined || term.signal.aborted) return;
      this.#running = "lead";
      await lead(term);
      onOver("finished");
    } catch (error) {
      this.#report(error, term);
      onOver("failed");
    } finally {
      this.#running = undefined;
    }
  }

  async #prepare(prepare: (term: Term) => unknown, term: Term): Promise<void> {
    const { clock, logger, patienceMs } = this.#options;
    this.#running = "prepare";
    const startedAt = clock.now();
    let cancel = (): void => {};
    const sayIn = (ms: number): void => {
      cancel = clock.at(clock.now() + ms, () => {
        const fields = { callback: "prepare", token: term.token, runningMs: clock.now() - startedAt };
        logger.warn(fields, "prepare still runs: nobody leads until it is done");
        sayIn(2 * ms);
      });
    };
    sayIn(patienceMs);
    const forget = onAbort(term.signal, () => cancel());
    try {
      await prepare(term);
    } finally {
      forget();
      cancel();
    }
  }

  #report(error: unknown, term: Term): void {
    const fields = { error, callback: this.#running, token: term.token };
    if (stoppedAsTold(error, term)) this.#options.logger.debug(fields, "the work stopped with its term");
    else this.#options.logger.error(fields, `${this.#running} threw`);
  }
}

/** A callback that rejects because its signal aborted is no failure. */
function stoppedAsTold(error: unknown, { signal }: Term): boolean {
  if (!signal.aborted) return false;
  return error === signal.reason || (error instanceof Error && error.name === "AbortError");
}
