import type { Etcd } from "../etcd/etcd.ts";
import { backoffMs, onAbort, sleep, unlessAborted } from "../waiting.ts";
import type { Candidacy } from "./candidacy.ts";
import { Line } from "./line.ts";
import { candidateKey } from "./naming.ts";
import { deleteKey } from "./own-key.ts";
import type { Session } from "./session.ts";

/**
 * A session's place in one election. The name of the key follows from the lease, so there can be one key, and one
 * candidacy at a time.
 *
 * A request to put the key whose answer was lost may be carried out long after: when the key it first put, or one put by
 * its repetition, has been given up already. Such a stray key hangs on a living lease, nobody acts on it, and it would
 * block the election. So after a lost answer the line is followed as long as the session lives, and every key of
 * the session's that no candidacy claims is deleted.
 */
export class Place {
  readonly #session: Session;
  readonly #etcd: Etcd;
  readonly election: string;
  readonly key: string;
  /** The last candidacy, until its key is surely gone. */
  candidacy: Candidacy | undefined;
  #gone = 0n;
  #joins = 0;
  #users = 0;
  #turn: Promise<void> = Promise.resolve();
  #line: Line | undefined;
  #deleting: Promise<void> | undefined;

  private constructor(session: Session, election: string) {
    this.#session = session;
    this.#etcd = session.etcd;
    this.election = election;
    this.key = candidateKey(election, session.leaseId);
  }

  /** The place of a session in an election. It is kept while there is anything to know of it. */
  static of(session: Session, election: string): Place {
    let place = session.places.get(election);
    if (place === undefined) {
      place = new Place(session, election);
      session.places.set(election, place);
    }
    return place;
  }

  /** The token of the last key that is surely gone: no key so old can stand again. */
  get gone(): bigint {
    return this.#gone;
  }

  /** Runs tasks one after another. */
  async inTurn<T>(signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T> {
    const before = this.#turn;
    let done = (): void => {};
    this.#turn = new Promise((resolve) => {
      done = resolve;
    });
    this.#users++;
    try {
      await unlessAborted(before, signal);
      return await task();
    } finally {
      // Who gave up waiting hands the turn on only when it would have been his.
      void before.then(done);
      this.#users--;
      this.#forgetIfIdle();
    }
  }

  /** Runs a request that puts the key; no key is taken for a stray meanwhile, nor one adopted that is being deleted. */
  async joining<T>(signal: AbortSignal | undefined, task: () => Promise<T>): Promise<T> {
    this.#users++;
    try {
      while (this.#deleting !== undefined) await unlessAborted(this.#deleting, signal);
      this.#joins++;
      try {
        return await task();
      } finally {
        this.#joins--;
        this.#look();
      }
    } finally {
      this.#users--;
      this.#forgetIfIdle();
    }
  }

  /** A request that puts the key may be carried out at any time from now on. */
  answerLost(): void {
    if (this.#line !== undefined || this.#session.endCause !== undefined) return;
    const line = Line.acquire(this.#etcd, this.election);
    this.#line = line;
    const unsubscribe = line.subscribe(() => this.#look());
    // The end of the session takes its keys along.
    onAbort(this.#session.signal, () => {
      unsubscribe();
      this.#line = undefined;
      line.release();
    });
    line.follow();
  }

  /** The key of this token has surely been deleted. */
  deleted(token: bigint): void {
    if (token > this.#gone) this.#gone = token;
    if (this.candidacy?.token === token) this.candidacy = undefined;
    this.#forgetIfIdle();
  }

  #look(): void {
    const { leaseId } = this.#session;
    if (this.#line?.synced !== true || this.#joins > 0 || this.#deleting !== undefined) return;
    const stray = this.#line.candidates.find((each) => each.key === this.key && each.leaseId === leaseId);
    // The view may still show a key that is gone; an older one than that is gone as well.
    if (stray === undefined || stray.token <= this.#gone || stray.token === this.candidacy?.token) return;
    this.#etcd.logger.warn(
      { key: this.key, token: stray.token },
      "deleting a key that a late request has put",
    );
    this.#deleting = deleteStray(this.#session, this.key, stray.token)
      .then((surely) => {
        if (surely) this.deleted(stray.token);
      })
      .finally(() => {
        this.#deleting = undefined;
        this.#look();
      });
  }

  #forgetIfIdle(): void {
    if (this.#users > 0 || this.candidacy !== undefined || this.#line !== undefined) return;
    const { places } = this.#session;
    if (places.get(this.election) === this) places.delete(this.election);
  }
}

/** Deletes a key, guarded, for as long as the session lives; whether it is surely gone. Never rejects. */
async function deleteStray(session: Session, key: string, token: bigint): Promise<boolean> {
  const { etcd, signal } = session;
  for (let failures = 1; !signal.aborted; failures++) {
    try {
      await deleteKey(etcd, key, token, { ...session.attemptLimits, signal });
      return true;
    } catch (error) {
      if (signal.aborted) break;
      etcd.logger.warn({ error, key }, "could not delete a key yet");
      await sleep(etcd.clock, backoffMs(etcd.clock, failures, 100, 5_000), signal).catch(() => {});
    }
  }
  return false;
}
