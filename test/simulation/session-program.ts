import { Session } from "../../src/concurrency/session.ts";
import type { Term } from "../../src/concurrency/term.ts";
import { onAbort, sleep } from "../../src/waiting.ts";
import { type Claim, Program } from "./program.ts";

/** A process in the manner of Go's programs: it holds the session itself, and opens another when that is lost. */
export abstract class SessionProgram extends Program {
  /** What it holds now. */
  protected term: Term | undefined;
  #session: Session | undefined;
  readonly #leaving = new AbortController();

  /** What it does with a session, until that is over. */
  protected abstract use(session: Session): Promise<void>;

  start(): void {
    void this.#run()
      .finally(() => this.etcd.close())
      .then(() => {
        this.left = true;
      });
  }

  leads(): Claim | undefined {
    const { term } = this;
    return term !== undefined && term.remainingMs > 0 ? term : undefined;
  }

  leave(): void {
    this.leaving = true;
    this.#leaving.abort(new Error("leaving"));
  }

  override get session(): Session | undefined {
    return this.#session;
  }

  override get deletesAtOnce(): boolean {
    return true;
  }

  describe(): string {
    return this.term === undefined ? "waiting" : `term ${this.term.token}, ${this.term.remainingMs} ms left`;
  }

  /** Works with what it has got, which may be over before it hears of it. */
  protected async hold(term: Term): Promise<void> {
    this.term = term;
    if (term.remainingMs > 0) await this.work(term).catch(() => {});
  }

  /** Aborts when the session is over, or before: some give up waiting and stand again. */
  protected patience(session: Session): { readonly signal: AbortSignal; readonly forget: () => void } {
    const { clock, random } = this.host;
    const impatient = new AbortController();
    const forget = onAbort(session.signal, () => impatient.abort(session.signal.reason));
    const longestMs = this.simulation.workMayEndWithin();
    const patienceMs =
      longestMs > 0 && random.chance(0.5)
        ? random.between(0, Math.min(15_000, longestMs))
        : Number.POSITIVE_INFINITY;
    const cancel = clock.at(clock.now() + patienceMs, () => impatient.abort(new Error("waited long enough")));
    return {
      signal: impatient.signal,
      forget: () => {
        cancel();
        forget();
      },
    };
  }

  async #run(): Promise<void> {
    const { scenario } = this.simulation;
    const { clock, random } = this.host;
    const left = this.#leaving.signal;
    while (!left.aborted) {
      try {
        const session = await Session.open(this.etcd, { ttlSeconds: scenario.ttlSeconds, signal: left });
        const forget = onAbort(left, () => void session.close());
        this.#session = session;
        try {
          await this.use(session);
        } finally {
          forget();
          this.#session = undefined;
          await session.close();
        }
      } catch {
        // The simulation judges what happens, not what is said of it.
      }
      await sleep(clock, random.between(20, 500), left).catch(() => {});
    }
  }
}
