import { SuccessionError } from "../errors.ts";
import type { Bytes } from "../etcd/bytes.ts";
import type { CallOptions } from "../etcd/etcd.ts";
import { onAbort, unlessAborted } from "../waiting.ts";
import { Candidacy, checkValue } from "./candidacy.ts";
import { Observer } from "./observer.ts";
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
    const { signal } = options;
    const bytes = checkValue("value", value, 0);
    signal?.throwIfAborted();
    const candidacy = await this.#enter(bytes, options);
    try {
      return await unlessAborted(candidacy.elected, signal);
    } catch (error) {
      if (signal?.aborted === true) giveUp(candidacy);
      throw error;
    }
  }

  /** @internal Campaigns only if nobody stands before; rejects with `LOCKED` otherwise, leaving no key. */
  async campaignIfFree(value: Bytes, options: CampaignOptions = {}): Promise<Term> {
    const candidacy = await this.#enter(checkValue("value", value, 0), options);
    if (candidacy.position > 0) {
      candidacy.end("resigned");
      await candidacy.release(options);
      throw new SuccessionError("LOCKED", `somebody else holds ${this.election}`);
    }
    return await unlessAborted(candidacy.elected, options.signal);
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
   * has answered; if it rejects, the claim is given up all the same, and a second call tries the deletion again.
   */
  async resign(options: CallOptions = {}): Promise<void> {
    const candidacy = this.#session.candidacies.get(this.election);
    if (candidacy === undefined) return;
    candidacy.end("resigned");
    // A lease that is gone has taken the key with it.
    if (this.#session.endCause === undefined || this.#session.endCause === "deadline")
      await candidacy.release(options);
  }

  get #candidacy(): Candidacy | undefined {
    const candidacy = this.#session.candidacies.get(this.election);
    return candidacy?.endCause === undefined ? candidacy : undefined;
  }

  async #enter(value: Uint8Array, options: CampaignOptions): Promise<Candidacy> {
    assertAlive(this.#session);
    const known = this.#session.candidacies.get(this.election);
    if (known?.endCause === undefined && known !== undefined) {
      if (!equal(known.value, value)) await known.proclaim(value, options);
      return known;
    }
    // The old key is given up for good; a new one can take its name only when it is surely gone.
    if (known !== undefined) await known.release(options);
    const candidacy = await Candidacy.join(this.#session, this.election, value, options);
    onAbort(candidacy.signal, () => {
      // Nobody else can lead while the key stands. A session that ended takes it along.
      if (candidacy.endCause !== "resigned" && this.#session.endCause === undefined) giveUp(candidacy);
    });
    candidacy.start();
    if (!equal(candidacy.value, value)) await candidacy.proclaim(value, options);
    return candidacy;
  }

  #notLeader(): SuccessionError {
    return new SuccessionError("NOT_LEADER", `this candidate does not lead ${this.election}`);
  }
}

/** Deletes the key in the background; where that fails, the end of the session does it. */
function giveUp(candidacy: Candidacy): void {
  candidacy.end("resigned");
  candidacy.release().catch((error: unknown) => {
    candidacy.session.etcd.logger.warn(
      { error, key: candidacy.key },
      "could not delete a key that was given up",
    );
  });
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
