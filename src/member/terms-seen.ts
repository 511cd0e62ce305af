import type { Clock } from "../clock.ts";
import type { Candidate } from "../concurrency/line.ts";

/** A term as one member saw it in the line. */
export interface TermSeen {
  readonly token: bigint;
  readonly leader: string;
  readonly leaseId: bigint;
  /** When it was first seen to lead, as an ISO date. */
  readonly startedAt: string;
  /** How long nobody had led before; `undefined` where the end before was not seen. */
  readonly gapMs: number | undefined;
  /** When it was first seen not to lead any more, as an ISO date. */
  readonly endedAt: string | undefined;
}

/** Of more leaders in a row than that the oldest are forgotten: whoever flaps so fast writes its own records. */
const mostSeen = 32;

/** The terms that this member has seen begin or end in the line and that may lack a record. */
export class TermsSeen {
  readonly #clock: Clock;
  #terms: TermSeen[] = [];
  #leader: Candidate | undefined;
  #endedAtMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes note of who leads now. Returns whether that is another one than before. */
  see(leader: Candidate | undefined): boolean {
    const before = this.#leader;
    if (before?.token === leader?.token) return false;
    const now = this.#clock.now();
    const date = this.#clock.date().toISOString();
    this.#leader = leader;
    if (before !== undefined) {
      this.#endedAtMs = now;
      this.#terms = this.#terms.map((each) =>
        each.token === before.token ? { ...each, endedAt: date } : each,
      );
    }
    if (leader !== undefined) {
      const { token, id, leaseId } = leader;
      const gapMs = this.#endedAtMs === undefined ? undefined : Math.round(now - this.#endedAtMs);
      this.#terms.push({ token, leader: id, leaseId, startedAt: date, gapMs, endedAt: undefined });
      this.#terms = this.#terms.slice(-mostSeen);
    }
    return true;
  }

  /** Oldest first. */
  get all(): readonly TermSeen[] {
    return this.#terms;
  }

  of(token: bigint): TermSeen | undefined {
    return this.#terms.find((each) => each.token === token);
  }

  /** The records of terms before this one are complete. */
  forgetBefore(token: bigint): void {
    this.#terms = this.#terms.filter((each) => each.token >= token);
  }
}
