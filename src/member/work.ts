import type { Clock } from "../clock.ts";
import type { Term } from "../concurrency/term.ts";
import type { Cause } from "../errors.ts";
import type { Logger } from "../log.ts";

/** The user's callbacks of a term. */
export interface Hooks {
  readonly prepare: ((term: Term) => unknown) | undefined;
  readonly lead: ((term: Term) => unknown) | undefined;
}

/**
 * The user's work of one term. It may throw, hang or ignore its signal: the machine around it learns of each, by name,
 * and is never held up.
 */
export class Work {
  readonly #hooks: Hooks;
  readonly #logger: Logger;
  readonly #onReady: () => void;
  #settled: Promise<void> = Promise.resolve();
  #running: "prepare" | "lead" | undefined;

  constructor(hooks: Hooks, logger: Logger, onReady: () => void) {
    this.#hooks = hooks;
    this.#logger = logger;
    this.#onReady = onReady;
  }

  /** The callback under way. */
  get running(): "prepare" | "lead" | undefined {
    return this.#running;
  }

  /** Resolves when no callback is under way; never rejects. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  /** Runs `prepare`, then `lead`; `end` is told why the term ends if it is the work that ends it. */
  start(term: Term, end: (cause: "finished" | "failed") => void): Promise<void> {
    this.#settled = this.#run(term, end);
    return this.#settled;
  }

  /** Whether the work has settled before `ms` have passed. */
  async settledWithin(clock: Clock, ms: number): Promise<boolean> {
    if (this.#running === undefined) return true;
    let cancel = (): void => {};
    const late = new Promise<boolean>((resolve) => {
      cancel = clock.at(clock.now() + ms, () => resolve(false));
    });
    const inTime = await Promise.race([this.#settled.then(() => true), late]);
    cancel();
    return inTime;
  }

  async #run(term: Term, end: (cause: Extract<Cause, "finished" | "failed">) => void): Promise<void> {
    try {
      const { prepare, lead } = this.#hooks;
      if (prepare !== undefined) {
        this.#running = "prepare";
        await prepare(term);
      }
      if (term.remainingMs <= 0) return;
      // Without `prepare` all this happens in the turn of the event that made us leader.
      this.#onReady();
      if (lead === undefined) return;
      this.#running = "lead";
      await lead(term);
      end("finished");
    } catch (error) {
      // A callback that stops because it was told to is no failure.
      const told =
        term.signal.aborted &&
        (error === term.signal.reason || (error as Error | null)?.name === "AbortError");
      const fields = { error, callback: this.#running, token: term.token };
      if (told) this.#logger.debug(fields, "the work stopped with its term");
      else this.#logger.error(fields, "the work threw");
      end("failed");
    } finally {
      this.#running = undefined;
    }
  }
}
