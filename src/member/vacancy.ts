/**
 * For how long nobody has led, as one member saw it on its own clock: from the end of the last term, which is the
 * instant at which it saw the leader's key go, or its own term end, to the beginning of its own.
 */
export class Vacancy {
  /** The token of whoever is first in line. */
  #leader: bigint | undefined;
  /** The token of the own term that ended last: its end came before its key went. */
  #own: bigint | undefined;
  #since: number | undefined;

  /** The line shows this candidate first, or nobody. */
  saw(leader: bigint | undefined, now: number): void {
    if (leader === this.#leader) return;
    if (this.#leader !== undefined && this.#leader !== this.#own) this.#since = now;
    this.#leader = leader;
  }

  /** The own term with this token has ended. */
  ended(token: bigint, now: number): void {
    this.#own = token;
    this.#since = now;
  }

  /** How long it lasted, when a term of our own begins now; `undefined` where no end of a term was seen. */
  lengthMs(now: number): number | undefined {
    return this.#since === undefined ? undefined : now - this.#since;
  }
}
