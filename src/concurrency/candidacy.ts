import { badOption, type Cause, EndedError } from "../errors.ts";
import { type Bytes, toBytes, toText } from "../etcd/bytes.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { EtcdError, isLeaseGone } from "../etcd/failure.ts";
import { type KeyValue, KV, type ResponseOp } from "../etcd/gen/etcd_pb.ts";
import { byCreation, created, deleteOp, putOp, rangeOp } from "../etcd/ops.ts";
import { onAbort } from "../waiting.ts";
import { attemptTimeoutMs, provenUntil } from "./deadline.ts";
import { Line, type OwnCandidate } from "./line.ts";
import { assertAlive, type Session } from "./session.ts";
import { Term } from "./term.ts";

/** The largest value of a candidate's key, in bytes. */
const maxValueBytes = 4_096;

/** Where nothing of an election may be: everything under a name that begins with the election's is a candidate. */
const metaRoot = "_succession";

/** Throws `BAD_OPTION` unless `election` can be the name of one. */
export function checkElection(election: string): void {
  if (typeof election !== "string" || election === "")
    throw badOption("election", "a name such as /merc", election);
  if (election.endsWith("/")) throw badOption("election", "a name without a trailing /", election);
  if (/^\/*_succession(\/|$)/.test(election)) {
    throw badOption("election", `a name outside ${metaRoot}, where details are kept`, election);
  }
  // A lone surrogate has no UTF-8 form: two names would become one key.
  if (/\p{Surrogate}/u.test(election)) throw badOption("election", "well-formed text", election);
}

/** The bytes of a candidate's value; throws `BAD_OPTION` if etcd or other members could not take it. */
export function checkValue(field: string, value: Bytes, least: 0 | 1): Uint8Array {
  if (typeof value !== "string" && !(value instanceof Uint8Array))
    throw badOption(field, "text or bytes", value);
  const bytes = toBytes(value);
  if (bytes.length < least) throw badOption(field, "not empty", value);
  if (bytes.length > maxValueBytes) {
    throw badOption(field, `at most ${maxValueBytes} bytes`, `${bytes.length} bytes`);
  }
  return bytes;
}

export interface JoinOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** How long before the deadline the term ends, for work that needs time to stop. @defaultValue 0 */
  readonly stopTimeoutMs?: number;
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
  readonly #etcd: Etcd;
  readonly #stopTimeoutMs: number;
  readonly #ended = new AbortController();
  readonly #elected: Promise<Term>;
  readonly #forgets: (() => void)[];
  #resolveElected: (term: Term) => void = () => {};
  #rejectElected: (reason: unknown) => void = () => {};
  #value: Uint8Array;
  #keySeenAt: number;
  #term: Term | undefined;
  #position: number;
  #endCause: Cause | undefined;
  #releasing: Promise<void> | undefined;
  #released = false;
  /** Called in the same turn in which the candidacy is elected or ends, before any signal aborts. */
  onElected: (term: Term) => void = () => {};
  onMoved: () => void = () => {};
  onEnded: (cause: Cause) => void = () => {};

  private constructor(of: {
    readonly session: Session;
    readonly line: Line;
    readonly key: string;
    readonly token: bigint;
    readonly value: Uint8Array;
    readonly sentAt: number;
    readonly stopTimeoutMs: number;
    readonly position: number;
  }) {
    this.session = of.session;
    this.line = of.line;
    this.key = of.key;
    this.token = of.token;
    this.#etcd = of.session.etcd;
    this.#value = of.value;
    this.#keySeenAt = of.sentAt;
    this.#stopTimeoutMs = of.stopTimeoutMs;
    this.#position = of.position;
    this.#elected = new Promise((resolve, reject) => {
      this.#resolveElected = resolve;
      this.#rejectElected = reject;
    });
    // Whoever waits hears of a rejection; when nobody does, the end is told by `signal`.
    this.#elected.catch(() => {});
    this.#forgets = [
      of.line.enter(this),
      onAbort(of.session.signal, () => this.end(of.session.endCause ?? "closed")),
    ];
  }

  /**
   * Puts the key, guarded by its absence, and reads the line in the same transaction. The transaction may be repeated:
   * a key that is there already with the session's lease is the one that an earlier attempt put.
   */
  static async join(
    session: Session,
    election: string,
    value: Uint8Array,
    options: JoinOptions = {},
  ): Promise<Candidacy> {
    assertAlive(session);
    const { etcd, leaseId } = session;
    const { stopTimeoutMs = 0 } = options;
    const key = candidateKey(election, leaseId);
    const range = rangeOp(byCreation(`${election}/`));
    const request = {
      compare: [created(key, 0n)],
      success: [putOp(key, value, leaseId), range],
      failure: [range],
    };
    // A key left by a join that failed must be gone before one of the same name is put.
    await session.withdrawals.get(election);
    assertAlive(session);
    const line = Line.acquire(etcd, election);
    try {
      const { response, sentAt } = await etcd.call(KV.method.txn, request, {
        ...limits(session, options),
        idempotent: true,
      });
      const kvs = kvsOf(response.responses.at(-1));
      const revision = response.header?.revision ?? 0n;
      const own = kvs.find((kv) => toText(kv.key) === key);
      assertAlive(session);
      if (own === undefined || own.lease !== leaseId) {
        throw new EndedError("CANDIDACY_LOST", "key-gone", `${key} exists and hangs on another lease`);
      }
      line.seed(kvs, revision, sentAt);
      const candidacy = new Candidacy({
        ...{ session, line, key, token: own.createRevision, value: own.value, sentAt, stopTimeoutMs },
        position: kvs.indexOf(own),
      });
      session.candidacies.set(election, candidacy);
      return candidacy;
    } catch (error) {
      line.release();
      if (isLeaseGone(error)) session.end("lease-gone");
      // The key may have been put, and nobody would act on it.
      else if (!(error instanceof EtcdError) || error.mayHaveApplied) withdraw(session, election, key);
      throw error;
    }
  }

  /** Begins to act on the line: call when the callbacks are set. */
  start(): void {
    this.lineChanged();
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

  /** Until when leadership is, or would be, proven. */
  get #deadline(): number {
    return Math.min(this.session.deadline, provenUntil(this.#keySeenAt, this.ttlMs));
  }

  lineChanged(): void {
    if (this.#endCause !== undefined || !this.line.synced) return;
    // The view is older than the key: its own event is still to come.
    if (this.line.revision < this.token) return;
    const position = this.line.candidates.findIndex((each) => each.key === this.key);
    const own = this.line.candidates[position];
    if (own === undefined || own.token !== this.token || own.leaseId !== this.leaseId) {
      this.end("key-gone");
      return;
    }
    const moved = position !== this.#position;
    this.#position = position;
    this.#value = own.value;
    if (position === 0) this.#elect();
    else if (moved) this.onMoved();
  }

  keySeen(sentAt: number): void {
    if (this.#endCause !== undefined) return;
    // An answer that arrives after the deadline revives nothing, even if the timer is late itself.
    if (this.#term !== undefined && this.#etcd.clock.now() >= this.#deadline - this.#stopTimeoutMs) {
      this.end("deadline");
      return;
    }
    this.#keySeenAt = Math.max(this.#keySeenAt, sentAt);
    this.proofMoved();
  }

  keyMissing(): void {
    this.end("key-gone");
  }

  /** A proof was renewed, which may be what an election waited for. */
  proofMoved(): void {
    if (this.#endCause === undefined && this.#term === undefined && this.line.synced) this.lineChanged();
  }

  #elect(): void {
    if (this.#term !== undefined) return;
    const { clock } = this.#etcd;
    if (clock.now() >= this.#deadline - this.#stopTimeoutMs) {
      // First in line, but a proof is stale: the answer to this read, or the next renewal, decides.
      this.line.auditNow();
      return;
    }
    const term = new Term({
      clock,
      key: this.key,
      token: this.token,
      // The claim may be given up a little before the term's signal aborts.
      deadline: () =>
        this.#endCause === undefined ? this.#deadline - this.#stopTimeoutMs : Number.NEGATIVE_INFINITY,
      onExpired: () => this.end("deadline"),
    });
    this.#term = term;
    this.#etcd.logger.info({ election: this.line.election, token: term.token, key: this.key }, "elected");
    this.onElected(term);
    this.#resolveElected(term);
  }

  /** Ends the candidacy, once: the claim to the key is given up for good. The key itself is deleted by `release`. */
  end(cause: Cause): void {
    if (this.#endCause !== undefined) return;
    this.#endCause = cause;
    for (const forget of this.#forgets) forget();
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

  /** Puts a new value on the same key and lease. Resolves to false if the key is gone, which ends the candidacy. */
  async proclaim(value: Uint8Array, options: CallOptions = {}): Promise<boolean> {
    const request = {
      compare: [created(this.key, this.token)],
      success: [putOp(this.key, value, this.leaseId)],
    };
    const { response } = await this.#etcd.call(KV.method.txn, request, {
      ...limits(this.session, options),
      idempotent: true,
    });
    if (response.succeeded) this.#value = value;
    else this.end("key-gone");
    return response.succeeded;
  }

  /**
   * Deletes the key, guarded by its create revision; the candidacy must have ended. Resolves when etcd has answered or
   * the key is gone with its lease; a failed call may be repeated.
   */
  release(options: CallOptions = {}): Promise<void> {
    this.end("resigned");
    if (this.#released) return Promise.resolve();
    this.#releasing ??= this.#delete(options).finally(() => {
      this.#releasing = undefined;
    });
    return this.#releasing;
  }

  async #delete(options: CallOptions): Promise<void> {
    const request = { compare: [created(this.key, this.token)], success: [deleteOp(this.key)] };
    await this.#etcd.call(KV.method.txn, request, { ...limits(this.session, options), idempotent: true });
    this.#released = true;
    const { candidacies } = this.session;
    if (candidacies.get(this.line.election) === this) candidacies.delete(this.line.election);
  }
}

/** Deletes a key that a failed join may have put, in the background, as long as the session lives. */
function withdraw(session: Session, election: string, key: string): void {
  const { etcd, leaseId } = session;
  const attempt = async (): Promise<void> => {
    const options = { ...limits(session, { signal: session.signal }), idempotent: true };
    const { response } = await etcd.call(KV.method.range, { key: toBytes(key), keysOnly: true }, options);
    const left = response.kvs[0];
    if (left?.lease !== leaseId) return;
    const request = { compare: [created(key, left.createRevision)], success: [deleteOp(key)] };
    await etcd.call(KV.method.txn, request, options);
  };
  const untilDone = async (): Promise<void> => {
    while (session.endCause === undefined) {
      try {
        await attempt();
        return;
      } catch (error) {
        if (error instanceof EtcdError && error.code !== "ETCD_UNAVAILABLE") return;
      }
    }
  };
  const done = untilDone().finally(() => session.withdrawals.delete(election));
  session.withdrawals.set(election, done);
}

/** The key of a candidate: the same as Go's `concurrency` package makes. */
export function candidateKey(election: string, leaseId: bigint): string {
  return `${election}/${BigInt.asUintN(64, leaseId).toString(16)}`;
}

function limits(session: Session, options: CallOptions): CallOptions {
  const { signal, timeoutMs } = options;
  return {
    attemptTimeoutMs: Math.min(session.etcd.attemptTimeoutMs, attemptTimeoutMs(session.ttlSeconds * 1_000)),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(signal === undefined ? {} : { signal }),
  };
}

function kvsOf(op: ResponseOp | undefined): readonly KeyValue[] {
  return op?.response.case === "responseRange" ? op.response.value.kvs : [];
}
