import type { Term } from "../concurrency/term.ts";
import type { Cause } from "../errors.ts";
import type { WorkFailure } from "../member/member.ts";
import { onAbort } from "../waiting.ts";
import type { Announcements } from "./announcements.ts";
import type { Exit } from "./exit.ts";
import type { HealthState } from "./health.ts";
import type { Hook } from "./hook.ts";
import type { Program } from "./program.ts";
import { endCauseOf } from "./role.ts";

/** The program's lead in one term: from when the world is told of it until it is told that it is over. */
export class Lead {
  readonly term: Term;
  readonly #announcements: Announcements;
  readonly #fail: (cause: WorkFailure) => void;
  #hook: Hook | undefined;
  #hookGone: Promise<void> = Promise.resolve();
  #cause: Cause | undefined;

  private constructor(term: Term, announcements: Announcements, fail: (cause: WorkFailure) => void) {
    this.term = term;
    this.#announcements = announcements;
    this.#fail = fail;
  }

  /** `fail` ends the term, where it is the program that ends the lead. */
  static begin(term: Term, announcements: Announcements, fail: (cause: WorkFailure) => void): Lead {
    const lead = new Lead(term, announcements, fail);
    announcements.role.begin(term);
    return lead;
  }

  /** Whether it must end, because its term has. */
  get isOver(): boolean {
    return this.term.remainingMs <= 0;
  }

  /** Resolves when it must end. */
  get over(): Promise<void> {
    return new Promise((resolve) => {
      onAbort(this.term.signal, resolve);
    });
  }

  /** Why it has ended. */
  get cause(): Cause {
    return this.#cause ?? endCauseOf(this.term);
  }

  /** The program leads: it was started, or told so. */
  told(program: Program): void {
    this.#hook = this.#announcements.startOnLead(program, this.term.token);
  }

  /** Tells the world that it is over, before the program stops; `exit` is its end, if that came first. */
  end(exit?: Exit, health?: HealthState): void {
    if (this.isOver) {
      this.#end(endCauseOf(this.term));
      return;
    }
    const ill = exit === undefined && health?.at === "ill" ? health.cause : undefined;
    const cause = ill ?? (exit?.code === 0 ? "finished" : "failed");
    this.#end(cause);
    // The member says the same, and looks after the time that the rest may take.
    this.#fail(cause);
  }

  /** Nothing of the program leads any more: the hook for that has its time. The key is not to be given up before. */
  async settle(): Promise<void> {
    await this.#hookGone;
    await this.#announcements.runOnStandby(this.term.token, this.cause);
  }

  #end(cause: Cause): void {
    if (this.#cause !== undefined) return;
    this.#cause = cause;
    this.#announcements.role.end(cause);
    // It is killed with the program at the latest; nothing waits for it before that.
    this.#hookGone = this.#hook?.kill("killed, because the lead is over") ?? Promise.resolve();
  }
}
