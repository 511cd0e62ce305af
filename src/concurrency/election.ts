import { SuccessionError } from "../errors.ts";
import type { Bytes } from "../etcd/bytes.ts";
import type { CallOptions } from "../etcd/etcd.ts";
import { onAbort, unlessAborted } from "../waiting.ts";
import { Candidacy } from "./candidacy.ts";
import { checkValue } from "./naming.ts";
import { Observer } from "./observer.ts";
import { Place } from "./place.ts";
import { assertAlive, type Session } from "./session.ts";
import type { Term } from "./term.ts";

export interface CampaignOptions {
  /** Ends the wait: the key is deleted and the call rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** An election as Go's `concurrency` package has it, on a session; its candidates may be Go programs. */
export class Election extends Observer {
  readonly #session: Session;

  constructor(session: Session, election: string) {
    super(session.etcd, election);
    this.#session = session;
  }

  /** The own candidate's key, once it has been put. */
  get key(): string | undefined {
    return this.#candidacy?.key;
  }

  /** The own candidate's fencing token: its key's create revision. */
  get token(): bigint | undefined {
    return this.#candidacy?.token;
  }

  /**
   * Puts a key with `value` (at most 4096 bytes) and waits until it is the first in line. A second call on the same
   * session keeps the place in line and puts the new value.
   *
   * Rejects with `SESSION_LOST` or `CANDIDACY_LOST` when the session or the key is gone before that: nobody is told that
   * he leads without a key.
   */
  async campaign(value: Bytes, options: CampaignOptions = {}): Promise<Term> {
    const bytes = checkValue("value", value, 0);
    return await this.#elected(await this.#enter(bytes, options), options.signal);
  }

  /** @internal Campaigns only if nobody stands before; rejects with `LOCKED` otherwise, leaving no new key. */
  async campaignIfFree(value: Bytes, options: CampaignOptions = {}): Promise<Term> {
    const bytes = checkValue("value", value, 0);
    return await this.#elected(await this.#enter(bytes, options, true), options.signal);
  }

  /** Puts a new value on the leader's key. Rejects with `NOT_LEADER` if this candidate does not lead. */
  async proclaim(value: Bytes, options: CallOptions = {}): Promise<void> {
    const bytes = checkValue("value", value, 0);
    const candidacy = this.#candidacy;
    if (candidacy === undefined || (candidacy.term?.remainingMs ?? 0) <= 0) throw this.#notLeader();
    if (!(await candidacy.proclaim(bytes, options))) throw this.#notLeader();
  }

  /**
   * Gives up the candidacy, leading or waiting: the term's signal aborts, then the key is deleted. Resolves when etcd
   * has answered; if it rejects, the claim is given up all the same, and the deletion is tried again: by a second call,
   * and by itself as long as the session lives.
   */
  async resign(options: CallOptions = {}): Promise<void> {
    const place = this.#session.places.get(this.election);
    // A campaign that is about to put its key does so first.
    if (place?.candidacy === undefined) await place?.inTurn(options.signal, async () => {});
    const candidacy = place?.candidacy;
    if (candidacy === undefined) return;
    candidacy.end("resigned");
    // The end of the session takes the key along; only one that could not renew may stand for a while.
    const { endCause } = this.#session;
    if (endCause === undefined || endCause === "deadline" || endCause === "hung")
      await giveUp(candidacy, options);
  }

  /** @internal Resigns from this term, and from no other that has come since on the same session. */
  async resignTerm(term: Term, options: CallOptions): Promise<void> {
    if (this.#session.places.get(this.election)?.candidacy?.term === term) await this.resign(options);
  }

  get #candidacy(): Candidacy | undefined {
    const candidacy = this.#session.places.get(this.election)?.candidacy;
    candidacy?.checkDeadline();
    return candidacy?.endCause === undefined ? candidacy : undefined;
  }

  /** A candidacy with this value: the one that there is, or a new one. With `onlyIfFree`, one that is the first. */
  async #enter(value: Uint8Array, options: CampaignOptions, onlyIfFree: boolean = false): Promise<Candidacy> {
    const session = this.#session;
    options.signal?.throwIfAborted();
    assertAlive(session);
    const place = Place.of(session, this.election);
    return await place.inTurn(options.signal, async () => {
      assertAlive(session);
      const known = this.#candidacy;
      // Who waits already goes on waiting.
      if (onlyIfFree && known !== undefined && known.position > 0) throw this.#locked();
      if (known !== undefined && (equal(known.value, value) || (await known.proclaim(value, options)))) {
        return known;
      }
      // The old key is given up for good; a new one can take its name only when it is surely gone.
      await place.candidacy?.release(options);
      const candidacy = await Candidacy.join(session, this.election, value, options);
      onAbort(candidacy.signal, () => {
        // What runs under the term is told by its signal, and is the caller's to stop.
        candidacy.workEnded();
        // Nobody else can lead while the key stands. A session that ended takes it along.
        if (candidacy.endCause !== "resigned" && session.endCause === undefined) candidacy.giveUp();
      });
      candidacy.start();
      if (onlyIfFree && candidacy.position > 0) {
        await giveUp(candidacy, options);
        throw this.#locked();
      }
      try {
        // A key that was there already may have another value.
        if (!equal(candidacy.value, value)) await candidacy.proclaim(value, options);
      } catch (error) {
        candidacy.giveUp();
        throw error;
      }
      return candidacy;
    });
  }

  async #elected(candidacy: Candidacy, signal: AbortSignal | undefined): Promise<Term> {
    try {
      const term = await unlessAborted(candidacy.elected, signal);
      // One message may have brought the election and, right behind it, the loss of the key.
      candidacy.checkDeadline();
      candidacy.signal.throwIfAborted();
      return term;
    } catch (error) {
      if (signal?.aborted === true) candidacy.giveUp();
      throw error;
    }
  }

  #locked(): SuccessionError {
    return new SuccessionError("LOCKED", `somebody else holds ${this.election}`);
  }

  #notLeader(): SuccessionError {
    return new SuccessionError("NOT_LEADER", `this candidate does not lead ${this.election}`);
  }
}

/** Deletes the key: here and now, or else in the background. */
async function giveUp(candidacy: Candidacy, options: CallOptions): Promise<void> {
  try {
    await candidacy.release(options);
  } catch (error) {
    candidacy.giveUp();
    throw error;
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
