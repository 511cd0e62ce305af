import { setMaxListeners } from "node:events";
import type { CancelTimer, Clock } from "../clock.ts";
import { badOption, type Cause, EndedError } from "../errors.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { isLeaseGone } from "../etcd/failure.ts";
import { keepAliveOnce } from "../etcd/keep-alive-once.ts";
import { onAbort } from "../waiting.ts";
import { attemptTimeoutMs, provenUntil } from "./deadline.ts";
import type { Place } from "./place.ts";
import { Proof, SharedFlag } from "./proof.ts";
import type { OnHang } from "./renewal-protocol.ts";
import { Renewer, type WatchedKey } from "./renewer.ts";

export interface SessionOptions {
  /**
   * Seconds that the lease lives without renewal, a whole number. etcd may grant more (2 at least with its default
   * settings): `session.ttlSeconds` tells. @defaultValue 10
   */
  readonly ttlSeconds?: number;
  /** Takes over a lease that exists instead of asking for one: Go's `WithLease`. */
  readonly leaseId?: bigint;
  readonly signal?: AbortSignal;
  /** Milliseconds to open in. @defaultValue 10000 */
  readonly timeoutMs?: number;
  /**
   * Whether a thread beside the main one renews the lease, so that a busy event loop does not lose it. There is one for
   * all sessions of the process; it connects to etcd by itself. @defaultValue false
   */
  readonly worker?: boolean;
  /**
   * With `worker`: milliseconds without a turn of the event loop after which the process counts as hung and its lease is
   * renewed no more; it then ends within a TTL. @defaultValue the TTL
   */
  readonly hangAfterMs?: number;
  /**
   * With `worker`: what to do with a process that is blocked while it leads, when its lead is about to be over. Code
   * that blocks cannot be told to stop: `"kill"` ends the process by SIGKILL in time. @defaultValue "report"
   */
  readonly onHang?: OnHang;
  /** @internal Told of every renewal's round trip, in milliseconds. */
  readonly onRenewed?: (roundTripMs: number) => void;
}

/** Anything shorter is within what garbage collection and a busy machine do to a healthy process. */
const leastHangAfterMs = 250;

/** Throws `BAD_OPTION` unless they fit together. */
export function checkHang({ worker, hangAfterMs, onHang }: SessionOptions): void {
  if (worker !== undefined && typeof worker !== "boolean") throw badOption("worker", "true or false", worker);
  if (hangAfterMs !== undefined && !(Number.isFinite(hangAfterMs) && hangAfterMs >= leastHangAfterMs)) {
    throw badOption("hangAfterMs", `a number of milliseconds, ${leastHangAfterMs} or more`, hangAfterMs);
  }
  if (onHang !== undefined && onHang !== "kill" && onHang !== "report") {
    throw badOption("onHang", '"kill" or "report"', onHang);
  }
  if (onHang === "kill" && worker !== true) {
    throw badOption("onHang", '"report" without a worker thread, which alone can kill', onHang);
  }
  if (onHang === "kill" && process.pid === 1) {
    const rule =
      '"report" in process 1, which no signal from within ends: start it under an init such as tini';
    throw badOption("onHang", rule, onHang);
  }
}

/** The largest TTL that etcd grants. */
const maxTtlSeconds = 9_000_000_000;

/** Throws `BAD_OPTION` unless etcd can grant such a lease. */
export function checkTtlSeconds(ttlSeconds: number): void {
  if (!Number.isInteger(ttlSeconds) || ttlSeconds < 1) {
    throw badOption("ttlSeconds", "an integer of 1 or more", ttlSeconds);
  }
  if (ttlSeconds > maxTtlSeconds) throw badOption("ttlSeconds", `at most ${maxTtlSeconds}`, ttlSeconds);
}

/**
 * A lease that is kept alive, and the local instant until which that is proven. The session ends by itself when it is
 * no longer proven, whatever its requests are doing.
 */
export class Session implements AsyncDisposable {
  /** @internal */
  readonly etcd: Etcd;
  readonly leaseId: bigint;
  /** @internal By election, so that two objects for one election share the one key they can have. */
  readonly places: Map<string, Place> = new Map();
  readonly #clock: Clock;
  readonly #ended = new AbortController();
  readonly #proof: Proof;
  readonly #hung = new SharedFlag();
  readonly #renewer: Renewer;
  readonly #forgets: (() => void)[] = [];
  #ttlMs: number;
  #cancelExpiry: CancelTimer = () => {};
  #endCause: Cause | undefined;
  #revoking: Promise<void> | undefined;
  #keepKeysOnLoss = false;

  private constructor(etcd: Etcd, leaseId: bigint, ttlMs: number, sentAt: number, options: SessionOptions) {
    this.etcd = etcd;
    this.leaseId = leaseId;
    this.#clock = etcd.clock;
    this.#ttlMs = ttlMs;
    this.#proof = Proof.until(provenUntil(sentAt, ttlMs));
    const { worker = false, hangAfterMs = ttlMs, onHang = "report" } = options;
    this.#renewer = new Renewer({
      ...{
        etcd,
        leaseId,
        ttlMs,
        renewedAt: sentAt,
        proof: this.#proof,
        hung: this.#hung,
        hangAfterMs,
        onHang,
      },
      connection: worker ? etcd.connection : undefined,
      listener: {
        renewed: (at, ttl, roundTripMs) => {
          this.#renewed(at, ttl);
          options.onRenewed?.(roundTripMs);
        },
        gone: () => this.end("lease-gone"),
        restored: () => this.end("store-restored"),
      },
    });
    // Many elections on one session are no leak.
    setMaxListeners(0, this.#ended.signal);
    this.#watchDeadline();
    this.#forgets.push(etcd.onRestored(() => this.end("store-restored")));
    this.#forgets.push(onAbort(etcd.closedSignal, () => this.end("closed")));
  }

  /**
   * Opens a session: grants a lease (or takes over `leaseId`) and keeps it alive. Rejects with `BAD_OPTION`,
   * `ETCD_UNAVAILABLE` after `timeoutMs`, `SESSION_LOST` if the lease to take over is gone, or the signal's reason.
   */
  static async open(etcd: Etcd, options: SessionOptions = {}): Promise<Session> {
    const { ttlSeconds = 10, leaseId, signal, timeoutMs = 10_000 } = options;
    checkTtlSeconds(ttlSeconds);
    checkHang(options);
    signal?.throwIfAborted();
    const limits = {
      timeoutMs,
      attemptTimeoutMs: Math.min(etcd.attemptTimeoutMs, attemptTimeoutMs(ttlSeconds * 1_000)),
    };
    const call = signal === undefined ? limits : { ...limits, signal };
    const session =
      leaseId === undefined
        ? await Session.#granted(etcd, ttlSeconds, call, options)
        : await Session.#adopted(etcd, leaseId, call, options);
    if (signal?.aborted !== true && session.remainingMs > 0) return session;
    // Aborted in the last moment, or the answer took as long as the lease lives.
    session.checkDeadline();
    if (leaseId !== undefined) session.orphan();
    else void session.close();
    signal?.throwIfAborted();
    throw session.signal.reason;
  }

  static async #granted(
    etcd: Etcd,
    ttlSeconds: number,
    call: CallOptions,
    options: SessionOptions,
  ): Promise<Session> {
    const { response, sentAt } = await etcd.grant(ttlSeconds, call);
    return new Session(etcd, response.ID, Number(response.TTL) * 1_000, sentAt, options);
  }

  static async #adopted(
    etcd: Etcd,
    leaseId: bigint,
    call: CallOptions,
    options: SessionOptions,
  ): Promise<Session> {
    const { ttlSeconds, sentAt } = await keepAliveOnce(etcd, leaseId, call);
    return new Session(etcd, leaseId, ttlSeconds * 1_000, sentAt, options);
  }

  /** Seconds of life that etcd granted. */
  get ttlSeconds(): number {
    return this.#ttlMs / 1_000;
  }

  /** Aborts, with an `EndedError`, when the lease is lost or the session is closed. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Milliseconds for which the lease is still proven to live, computed now; 0 once the session has ended. */
  get remainingMs(): number {
    const now = this.#clock.now();
    return this.#endCause !== undefined || this.#proof.passed(now) ? 0 : Math.max(0, this.#proof.until - now);
  }

  /**
   * @internal Milliseconds for which our keys surely keep others from leading, closed or not: a session whose client was
   * closed leaves them in etcd.
   */
  get protectedMs(): number {
    if (this.#endCause !== undefined && this.#endCause !== "closed") return 0;
    return Math.max(0, this.#proof.until - this.#clock.now());
  }

  /** @internal The instant until which the lease is proven. */
  get deadline(): number {
    return this.#endCause === undefined ? this.#proof.until : Number.NEGATIVE_INFINITY;
  }

  /** @internal How long one endpoint has for an answer that this session's deadline may depend on. */
  get attemptLimits(): { readonly attemptTimeoutMs: number } {
    return { attemptTimeoutMs: Math.min(this.etcd.attemptTimeoutMs, attemptTimeoutMs(this.#ttlMs)) };
  }

  /** @internal */
  get endCause(): Cause | undefined {
    return this.#endCause;
  }

  /**
   * Ends the session: the signal aborts, then the lease is revoked, which deletes its keys. Resolves when etcd has
   * answered, or after `timeoutMs` (default 2000); then the lease ends by itself.
   */
  async close(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.end("closed");
    const { timeoutMs = 2_000 } = options;
    let cancel: CancelTimer = () => {};
    const late = new Promise<void>((resolve) => {
      cancel = this.#clock.at(this.#clock.now() + timeoutMs, resolve);
    });
    await Promise.race([this.revoke(), late]);
    cancel();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Ends the session here and leaves the lease and its keys to live out their time in etcd: Go's `Orphan`.
   * Another session can take the lease over.
   */
  orphan(): void {
    this.#revoking ??= Promise.resolve();
    this.end("closed");
  }

  /** @internal Ends the session, once. Unless told otherwise a lost lease is revoked: till then nobody else can lead. */
  end(cause: Cause): void {
    if (this.#endCause !== undefined) return;
    this.#endCause = cause;
    this.#cancelExpiry();
    this.#renewer.stop();
    for (const forget of this.#forgets) forget();
    this.etcd.logger.info({ leaseId: this.leaseId.toString(16), cause }, "session ended");
    const message = cause === "closed" ? "the session was closed" : `the session is lost: ${cause}`;
    this.#ended.abort(new EndedError("SESSION_LOST", cause, message));
    const leftBehind = cause === "deadline" || cause === "hung" || cause === "store-restored";
    if (leftBehind && !this.#keepKeysOnLoss) void this.revoke();
  }

  /** @internal No more renewals: the deadline will end the session. For an owner whose work does not stop in time. */
  stopRenewing(): void {
    this.#renewer.stop();
  }

  /** @internal Has the renewal thread, if there is one, look at a key while the main thread is blocked. */
  watchKey(key: WatchedKey): () => void {
    return this.#renewer.watch(key);
  }

  /** @internal Whether a key must be watched by the renewal thread before work begins under it. */
  get guards(): boolean {
    return this.#renewer.guards;
  }

  /** @internal Why what is not proven any more is over: also where a timer is earlier than the message that tells. */
  get lapse(): Cause {
    return this.#proof.loss ?? (this.#hung.value ? "hung" : "deadline");
  }

  /** @internal The owner revokes, when its work has stopped; the session itself does not when it is lost. */
  leaveRevokingToOwner(): void {
    this.#keepKeysOnLoss = true;
  }

  /** @internal Revokes the lease; tries until etcd answers, the client is closed or the lease must long be over. */
  revoke(): Promise<void> {
    this.#revoking ??= this.#endCause === "lease-gone" ? Promise.resolve() : this.#revoke();
    return this.#revoking;
  }

  async #revoke(): Promise<void> {
    const { etcd, leaseId } = this;
    // An outage of etcd refills every TTL, so even an expired lease may stand again: worth trying for as long as that.
    const timeoutMs = Math.max(10_000, 3 * this.#ttlMs);
    try {
      await etcd.leaseRevoke(leaseId, { timeoutMs });
    } catch (error) {
      if (isLeaseGone(error) || etcd.closedSignal.aborted) return;
      etcd.logger.warn(
        { error, leaseId: leaseId.toString(16) },
        "could not revoke a lease; it will end by itself",
      );
    }
  }

  #renewed(sentAt: number, ttlMs: number): void {
    // An answer that arrives after the deadline revives nothing, even if the timers are late themselves: first
    // everything ends that is over, then the deadline moves.
    this.checkDeadline();
    for (const { candidacy } of this.places.values()) candidacy?.checkDeadline();
    if (this.#endCause !== undefined) return;
    this.#ttlMs = ttlMs;
    this.#proof.renew(provenUntil(sentAt, ttlMs), this.#clock.now());
    for (const { candidacy } of [...this.places.values()]) candidacy?.proofMoved();
  }

  /** @internal Ends the session if its deadline has passed, whether or not its timer has fired. */
  checkDeadline(): void {
    if (this.#endCause === undefined && this.#proof.passed(this.#clock.now())) this.end(this.lapse);
  }

  #watchDeadline(): void {
    this.#cancelExpiry = this.#clock.at(this.#proof.until, () => {
      this.checkDeadline();
      if (this.#endCause === undefined) this.#watchDeadline();
    });
  }
}

/** Rejects unless the session lives. */
export function assertAlive(session: Session): void {
  session.checkDeadline();
  session.signal.throwIfAborted();
}
