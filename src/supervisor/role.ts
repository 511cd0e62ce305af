import type { Clock } from "../clock.ts";
import type { Term } from "../concurrency/term.ts";
import { type Cause, EndedError } from "../errors.ts";
import type { Member, Role } from "../member/member.ts";
import { onAbort } from "../waiting.ts";

/** What the world is told of a program's role: by the role file, and by the API. */
export interface RoleState {
  readonly role: Role;
  readonly election: string;
  readonly id: string;
  /** The fencing token of its own term; none for a standby. */
  readonly token: number | null;
  /** The id of the leader, if that is known. */
  readonly leader: string | null;
  /** Why its last term ended; none while it leads, and if it never did. */
  readonly cause: Cause | null;
}

/** The role that the program is in, computed from the deadline of its term at the moment of asking. */
export class ProgramRole {
  readonly #about: { readonly election: string; readonly id: string };
  readonly #listeners: Set<(state: RoleState) => void> = new Set();
  #member: Member | undefined;
  #term: Term | undefined;
  #cause: Cause | null = null;
  /** Of the newest term. */
  #token: bigint | undefined;
  #told: RoleState;

  constructor(about: { readonly election: string; readonly id: string }) {
    this.#about = { election: about.election, id: about.id };
    this.#told = this.now;
  }

  get now(): RoleState {
    const { id } = this.#about;
    if (this.remainingMs > 0)
      return { role: "leader", ...this.#about, token: Number(this.#term?.token), leader: id, cause: null };
    const leader = this.#member?.leader;
    // A key on which the lead has ended leads nobody, though it stands until the program has stopped.
    const leads = leader !== undefined && leader.token !== this.#token ? leader.id : null;
    return { role: "standby", ...this.#about, token: null, leader: leads, cause: this.#endCause };
  }

  /** Milliseconds for which the lead is proven without another word from etcd; 0 for a standby. */
  get remainingMs(): number {
    return this.#term?.remainingMs ?? 0;
  }

  /** The program acts as leader from now on, while the term stands. */
  begin(term: Term): void {
    this.#term = term;
    this.#token = term.token;
    this.tell();
  }

  /** It does so no more, whether or not the term stands. */
  end(cause: Cause): void {
    this.#term = undefined;
    this.#cause = cause;
    this.tell();
  }

  /** Knows who leads from now on. */
  follow(member: Member): void {
    this.#member = member;
  }

  /** Tells the listeners what is new, if anything is. */
  tell(): void {
    const { now } = this;
    if (same(now, this.#told)) return;
    this.#told = now;
    for (const listener of [...this.#listeners]) listener(now);
  }

  /** Calls the listener, which must not throw, at every change. The result takes it away again. */
  subscribe(listener: (state: RoleState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves to whether the role is this one before so many milliseconds have passed, or the signal aborts. */
  async within(clock: Clock, role: Role, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    if (this.now.role === role) return true;
    return await new Promise((resolve) => {
      const done = (reached: boolean): void => {
        cancel();
        unsubscribe();
        forget();
        resolve(reached);
      };
      const cancel = clock.at(clock.now() + timeoutMs, () => done(this.now.role === role));
      const unsubscribe = this.subscribe((state) => {
        if (state.role === role) done(true);
      });
      let forget = (): void => {};
      forget = onAbort(signal, () => done(false));
    });
  }

  get #endCause(): Cause | null {
    return this.#term === undefined ? this.#cause : endCauseOf(this.#term);
  }
}

/** Why a term is over; one that passed its deadline this moment may not have been told yet. */
export function endCauseOf({ signal }: Term): Cause {
  if (!signal.aborted) return "deadline";
  return signal.reason instanceof EndedError ? signal.reason.endCause : "closed";
}

function same(a: RoleState, b: RoleState): boolean {
  return a.role === b.role && a.token === b.token && a.leader === b.leader && a.cause === b.cause;
}
