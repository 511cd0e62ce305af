import { type Cause, EndedError } from "../errors.ts";
import { toText } from "../etcd/bytes.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { type KeyValue, KV } from "../etcd/gen/etcd_pb.ts";
import { type Compare, created, kvsOf, type Op, putOp } from "../etcd/ops.ts";
import { backoffMs, onAbort, sleep } from "../waiting.ts";
import { provenUntil } from "./deadline.ts";
import { type Candidate, candidate, Line, type OwnCandidate } from "./line.ts";
import { deleteKey, putKey, whileAlive } from "./own-key.ts";
import { Place } from "./place.ts";
import { Proof, SharedFlag } from "./proof.ts";
import { assertAlive, type Session } from "./session.ts";
import { TakeoverDelay, type TakeoverOptions } from "./takeover.ts";
import { Term } from "./term.ts";

export interface JoinOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** How long before the deadline the term ends, for work that needs time to stop. @defaultValue 0 */
  readonly stopTimeoutMs?: number;
  /** Waits before it leads, and leaves a mark when it releases its key. @defaultValue neither */
  readonly takeover?: TakeoverOptions | undefined;
}

/**
 * One candidate of this process: a key in the line, from its creation until it is given up. It leads when every key
 * created before its own is gone, and no longer than both proofs stand: the lease renewed, and the key seen.
 *
 * Once it has ended nothing brings it back; a new candidacy has a new key.
 */
export class Candidacy implements OwnCandidate {
  readonly session: Session;
  readonly line: Line;
  readonly key: string;
  readonly token: bigint;
  /** Those that stood before it when its key was created. */
  readonly earlier: readonly Candidate[];
  readonly #place: Place;
  readonly #etcd: Etcd;
  readonly #stopTimeoutMs: number;
  readonly #takeover: TakeoverDelay | undefined;
  readonly #ended = new AbortController();
  readonly #elected: Promise<Term>;
  readonly #forgets: (() => void)[] = [];
  #resolveElected: (term: Term) => void = () => {};
  #rejectElected: (reason: unknown) => void = () => {};
  #value: Uint8Array;
  readonly #keyProof: Proof;
  /** Whether work of ours may act as leader: what the renewal thread would have to end if the main thread is blocked. */
  readonly #acting = new SharedFlag();
  readonly #forgetKey: () => void;
  /** Whether the renewal thread watches over work that may have to be killed. */
  #guarded = false;
  /** The term has been seen to be over, before its timer fired: nothing revives it. */
  #lapsed = false;
  #term: Term | undefined;
  #position: number;
  #started = false;
  #endCause: Cause | undefined;
  #successor: Compare | undefined;
  #released = false;
  #givingUp = false;
  /** Called in the same turn in which the candidacy is elected or ends, before any signal aborts. */
  onElected: (term: Term) => void = () => {};
  onMoved: () => void = () => {};
  onEnded: (cause: Cause) => void = () => {};

  private constructor(of: {
    readonly session: Session;
    readonly place: Place;
    readonly line: Line;
    readonly own: KeyValue;
    readonly sentAt: number;
    readonly stopTimeoutMs: number;
    readonly takeover: TakeoverOptions | undefined;
    readonly earlier: readonly Candidate[];
  }) {
    this.session = of.session;
    this.line = of.line;
    this.key = of.place.key;
    this.token = of.own.createRevision;
    this.earlier = of.earlier;
    this.#place = of.place;
    this.#etcd = of.session.etcd;
    this.#value = of.own.value;
    this.#keyProof = Proof.until(provenUntil(of.sentAt, this.ttlMs));
    this.#stopTimeoutMs = of.stopTimeoutMs;
    this.#position = of.earlier.length;
    if (of.takeover !== undefined) {
      const before = of.earlier.map(({ token }) => token);
      this.#takeover = new TakeoverDelay(this.#etcd, of.takeover, before, () => this.lineChanged());
    }
    this.#elected = new Promise((resolve, reject) => {
      this.#resolveElected = resolve;
      this.#rejectElected = reject;
    });
    // Whoever waits hears of a rejection; when nobody does, the end is told by `signal`.
    this.#elected.catch(() => {});
    of.place.candidacy = this;
    this.#forgetKey = of.session.watchKey({
      ...{ name: this.key, token: this.token, proof: this.#keyProof, acting: this.#acting },
      listener: {
        settled: () => {
          this.#guarded = true;
          this.proofMoved();
        },
        seen: (sentAt) => this.keySeen(sentAt),
        missing: () => this.keyMissing(),
      },
    });
    this.#forgets.push(of.line.enter(this));
    this.#forgets.push(onAbort(of.session.signal, () => this.end(of.session.endCause ?? "closed")));
  }

  /**
   * Puts the key, guarded by its absence, and reads the line in the same transaction. One at a time for a session and an
   * election. A key that is there already with the session's lease is the one that an earlier request put.
   */
  static async join(
    session: Session,
    election: string,
    value: Uint8Array,
    options: JoinOptions = {},
  ): Promise<Candidacy> {
    const { stopTimeoutMs = 0, takeover, signal } = options;
    assertAlive(session);
    const place = Place.of(session, election);
    const line = Line.acquire(session.etcd, election);
    try {
      return await place.joining(signal, async () => {
        const { response, sentAt } = await putKey(session, place, value, options);
        const kvs = kvsOf(response.responses.at(-1));
        const revision = response.header?.revision ?? 0n;
        const own = kvs.find((kv) => toText(kv.key) === place.key);
        if (own === undefined || own.lease !== session.leaseId) {
          throw new EndedError(
            "CANDIDACY_LOST",
            "key-gone",
            `${place.key} exists and hangs on another lease`,
          );
        }
        // A key that was given up is never taken up again: that it stands anew shows a store that went back.
        if (own.createRevision <= place.gone) session.end("store-restored");
        assertAlive(session);
        line.seed(kvs, revision, sentAt);
        const earlier = kvs.slice(0, kvs.indexOf(own)).map(candidate);
        return new Candidacy({ session, place, line, own, sentAt, stopTimeoutMs, takeover, earlier });
      });
    } catch (error) {
      line.release();
      throw error;
    }
  }

  /** Begins to act on the line, and tells what has happened since the joining: call when the callbacks are set. */
  start(): void {
    this.#started = true;
    if (this.#endCause === undefined) this.lineChanged();
    else this.onEnded(this.#endCause);
  }

  get leaseId(): bigint {
    return this.session.leaseId;
  }

  get ttlMs(): number {
    return this.session.ttlSeconds * 1_000;
  }

  /** The bytes of the key's value. */
  get value(): Uint8Array {
    return this.#value;
  }

  /** How many candidates stand before this one. */
  get position(): number {
    return this.#position;
  }

  /** The term, once elected. */
  get term(): Term | undefined {
    return this.#term;
  }

  get endCause(): Cause | undefined {
    return this.#endCause;
  }

  /** Aborts when the candidacy ends, leading or not. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Resolves when elected; rejects when the candidacy ends before that. */
  get elected(): Promise<Term> {
    return this.#elected;
  }

  lineChanged(): void {
    this.checkDeadline();
    if (this.#endCause !== undefined || !this.#started || !this.line.synced) return;
    // The view is older than the key: its own event is still to come.
    if (this.line.revision < this.token) return;
    const own = this.line.find(this);
    if (own === undefined) {
      this.end("key-gone");
      return;
    }
    const position = this.line.candidates.indexOf(own);
    const moved = position !== this.#position;
    this.#position = position;
    this.#value = own.value;
    this.#takeover?.lineChanged(this.line.candidates);
    if (position === 0) this.#elect();
    else this.#notFirst();
    if (moved && this.#term === undefined && this.#endCause === undefined) this.onMoved();
  }

  keySeen(sentAt: number): void {
    this.checkDeadline();
    if (this.#endCause !== undefined) return;
    const until = provenUntil(sentAt, this.ttlMs);
    if (this.#term === undefined) this.#keyProof.prove(until);
    else this.#keyProof.renew(until, this.#etcd.clock.now());
    this.proofMoved();
  }

  keyMissing(): void {
    this.checkDeadline();
    this.end("key-gone");
  }

  storeWentBack(): void {
    this.session.end("store-restored");
  }

  keySeenBehind(sentAt: number): void {
    this.#notFirst();
    // Where the view says otherwise nothing is to be begun on it.
    if (this.#position > 0) this.keySeen(sentAt);
  }

  /** Nobody can be created before a leader, so the store has gone back unnoticed. */
  #notFirst(): void {
    if (this.#term !== undefined) this.end("store-restored");
  }

  /** A proof was renewed, which may be what an election waited for. */
  proofMoved(): void {
    if (this.#term === undefined) this.lineChanged();
  }

  /** Ends the term if its deadline has passed, whether or not its timer has fired: nothing revives it after that. */
  checkDeadline(): void {
    if (this.#term !== undefined && this.#etcd.clock.now() >= this.#stopBy) this.#lapse();
  }

  #lapse(): void {
    this.end(this.#keyProof.loss ?? this.session.lapse);
  }

  /** When the term ends, or would end, unless both proofs are renewed. */
  get #stopBy(): number {
    if (this.#lapsed) return Number.NEGATIVE_INFINITY;
    const stopBy = Math.min(this.session.deadline, this.#keyProof.until) - this.#stopTimeoutMs;
    if (this.#term === undefined || this.#etcd.clock.now() < stopBy) return stopBy;
    this.#lapsed = true;
    return Number.NEGATIVE_INFINITY;
  }

  #elect(): void {
    if (this.#term !== undefined) return;
    const { clock } = this.#etcd;
    // First in line, but a proof is stale: the next renewal or read, which are due by then, decides.
    if (clock.now() >= this.#stopBy) return;
    // Work that is to be killed should it block must not begin before there is somebody to do it.
    if (this.session.guards && !this.#guarded) return;
    if (this.#takeover?.passed() === false) return;
    const term = new Term({
      clock,
      key: this.key,
      token: this.token,
      // The claim may be given up a little before the term's signal aborts.
      deadline: () => (this.#endCause === undefined ? this.#stopBy : Number.NEGATIVE_INFINITY),
      onExpired: () => this.#lapse(),
    });
    this.#term = term;
    this.#acting.value = true;
    this.#etcd.logger.info({ election: this.line.election, token: term.token, key: this.key }, "elected");
    this.onElected(term);
    this.#resolveElected(term);
  }

  /** Ends the candidacy, once: the claim to the key is given up for good. The key itself is deleted by `release`. */
  end(cause: Cause): void {
    if (this.#endCause !== undefined) return;
    this.#endCause = cause;
    for (const forget of this.#forgets) forget();
    this.#takeover?.stop();
    const { election } = this.line;
    this.line.release();
    this.#etcd.logger.info(
      { election, key: this.key, cause },
      this.#term === undefined ? "candidacy ended" : "term ended",
    );
    this.onEnded(cause);
    this.#term?.end(cause);
    const reason = new EndedError("CANDIDACY_LOST", cause, `the candidacy ended: ${cause}`);
    this.#rejectElected(reason);
    this.#ended.abort(reason);
  }

  /** Ends the candidacy for another candidate, who must stand when the key is deleted, or it is deleted for the next. */
  endFor(successor: Pick<OwnCandidate, "key" | "token">, cause: Cause): void {
    if (this.#endCause !== undefined) return;
    this.#successor = created(successor.key, successor.token);
    this.end(cause);
  }

  /** The release mark of a key that never led, where this candidate leaves marks at all. */
  markOf(token: bigint): Op | undefined {
    return this.#takeover?.mark(token);
  }

  /** The work of the term has stopped, or there was none: from now on a blocked main thread does no harm. */
  workEnded(): void {
    this.#acting.value = false;
    this.#forgetKey();
  }

  /** Puts a new value on the same key and lease. Resolves to false if the key is gone, which ends the candidacy. */
  async proclaim(value: Uint8Array, options: CallOptions = {}): Promise<boolean> {
    const { session } = this;
    const request = {
      compare: [created(this.key, this.token)],
      success: [putOp(this.key, value, this.leaseId)],
    };
    const { response } = await whileAlive(session, options.signal, (signal) =>
      this.#etcd.call(KV.method.txn, request, {
        ...options,
        ...session.attemptLimits,
        signal,
        idempotent: true,
      }),
    );
    if (response.succeeded) this.#value = value;
    else this.end("key-gone");
    return response.succeeded;
  }

  /**
   * Ends the candidacy and deletes the key, guarded by its create revision. Resolves when etcd has answered; a failed
   * call may be repeated. With `takeover` the work must have stopped, for the mark says so.
   *
   * Each call sends its own deletion and keeps its own limits: two guarded ones do no harm.
   */
  async release(options: CallOptions = {}): Promise<void> {
    this.end("resigned");
    if (!this.#released) await this.#delete(options);
  }

  /**
   * The same in the background, until etcd has answered: nobody else can lead while the key stands. The end of the
   * session takes the key along.
   */
  giveUp(): void {
    this.end("resigned");
    if (this.#givingUp) return;
    this.#givingUp = true;
    void this.#untilReleased();
  }

  /** Never rejects. */
  async #untilReleased(): Promise<void> {
    const { clock, logger } = this.#etcd;
    const { signal } = this.session;
    for (let failures = 1; !this.#released && !signal.aborted; failures++) {
      try {
        await this.release({ signal });
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ error, key: this.key }, "could not delete a key that was given up; trying again");
        await sleep(clock, backoffMs(clock, failures, 100, 5_000), signal).catch(() => {});
      }
    }
  }

  async #delete(options: CallOptions): Promise<void> {
    const limits = { ...options, ...this.session.attemptLimits };
    const parting = { mark: this.markOf(this.token), successor: this.#successor };
    await deleteKey(this.#etcd, this.key, this.token, limits, parting);
    this.#released = true;
    this.#place.deleted(this.token);
  }
}
