import { Candidacy } from "../concurrency/candidacy.ts";
import { attemptTimeoutMs } from "../concurrency/deadline.ts";
import { type Candidate, Line } from "../concurrency/line.ts";
import { Session } from "../concurrency/session.ts";
import type { Term } from "../concurrency/term.ts";
import { badOption, type Cause, closedError, SuccessionError } from "../errors.ts";
import { Etcd } from "../etcd/etcd.ts";
import { Feed } from "../feed.ts";
import { version } from "../version.ts";
import { backoffMs, onAbort, sleep, unlessAborted } from "../waiting.ts";
import { detailsKey, putDetails } from "./details.ts";
import { type CheckedSettings, checkSettings, type MemberOptions } from "./options.ts";
import { next, outside, type Phase, type PhaseEvent, type PhaseName } from "./phase.ts";
import { Work } from "./work.ts";

export type Role = "leader" | "standby";

/** A state of a member, as `changes` tells it. */
export interface MemberChange {
  readonly role: Role;
  readonly phase: PhaseName;
  /** How many candidates stand before this member while it waits. */
  readonly position: number | undefined;
  /** Who leads, if that is known. */
  readonly leader: Candidate | undefined;
  /** The own term while this member leads. */
  readonly term: Term | undefined;
  /** Why the last term or candidacy ended. */
  readonly cause: Cause | undefined;
  /** How many changes before this one a slow reader missed. */
  readonly skipped: number;
}

/** Errors that trying again at the first joining cannot help. */
const hopeless: ReadonlySet<string> = new Set([
  "BAD_OPTION",
  "AUTH_FAILED",
  "PERMISSION_DENIED",
  "ETCD_REFUSED",
]);

/** Ends that nobody of ours asked for. */
const unwanted: ReadonlySet<Cause> = new Set([
  "deadline",
  "lease-gone",
  "key-gone",
  "hung",
  "store-restored",
]);

/** How long `onLost: "exit"` waits for etcd to take the key and lease back. */
const exitPatienceMs = 1_000;

/** Ends by which the key is gone from etcd: a successor may lead already. */
const keyTaken: ReadonlySet<Cause> = new Set(["lease-gone", "key-gone", "store-restored"]);

/** What a member that ended its own term waits before it joins again; doubled from time to time. */
const firstPauseMs = 1_000;
const longestPauseMs = 30_000;
/** A candidacy that lived so long was no failure to be counted. */
const settledMs = 10_000;

/**
 * A process that takes part in an election: it stands in line, leads when its turn comes, stops in time when it must,
 * and comes back by itself.
 */
export class Member implements AsyncDisposable {
  readonly id: string;
  readonly election: string;
  readonly #etcd: Etcd;
  readonly #ownsEtcd: boolean;
  readonly #settings: CheckedSettings;
  readonly #line: Line;
  readonly #startedAt: string;
  readonly #feeds: Set<Feed<MemberChange>> = new Set();
  readonly #leaving = new AbortController();
  readonly #forgets: (() => void)[];
  #joined: { resolve(): void; reject(reason: unknown): void } | undefined;
  #phase: Phase = outside;
  #candidacy: Candidacy | undefined;
  #term: Term | undefined;
  #cause: Cause | undefined;
  #shown: MemberChange | undefined;
  #mayTellDetails = true;
  #running: Promise<void> = Promise.resolve();
  /** Keys and leases being given back while a new candidacy is already under way. */
  readonly #givingBack: Set<Promise<void>> = new Set();
  #left: Promise<void> | undefined;

  private constructor(etcd: Etcd, ownsEtcd: boolean, settings: CheckedSettings) {
    this.id = settings.id;
    this.election = settings.election;
    this.#etcd = etcd;
    this.#ownsEtcd = ownsEtcd;
    this.#settings = settings;
    this.#startedAt = etcd.clock.date().toISOString();
    this.#line = Line.acquire(etcd, settings.election);
    this.#forgets = [
      this.#line.subscribe(() => this.#tell()),
      onAbort(etcd.closedSignal, () => void this.leave()),
    ];
  }

  /**
   * Joins an election. Resolves when the member's key exists; until then it waits through any outage of etcd, to the end
   * of `timeoutMs` (`TIMEOUT`) or until `signal` aborts. Bad options and refused credentials reject at once.
   */
  static async join(options: MemberOptions): Promise<Member> {
    const settings = checkSettings(options);
    const { signal, timeoutMs } = options;
    if (options.etcd !== undefined && options.endpoints !== undefined) {
      throw badOption("etcd and endpoints", "given one without the other", "both");
    }
    signal?.throwIfAborted();
    const limits = { attemptTimeoutMs: attemptTimeoutMs(settings.ttlSeconds * 1_000) };
    const etcd = options.etcd ?? new Etcd({ ...options, ...limits });
    const member = new Member(etcd, options.etcd === undefined, settings);
    const joined = new Promise<void>((resolve, reject) => {
      member.#joined = { resolve, reject };
    });
    member.#running = member.#run();
    const late = new AbortController();
    const reason = new SuccessionError(
      "TIMEOUT",
      `could not join ${settings.election} within ${timeoutMs} ms`,
    );
    const cancel =
      timeoutMs === undefined
        ? () => {}
        : etcd.clock.at(etcd.clock.now() + timeoutMs, () => late.abort(reason));
    try {
      await unlessAborted(unlessAborted(joined, late.signal), signal);
      return member;
    } catch (error) {
      await member.leave();
      throw error;
    } finally {
      cancel();
    }
  }

  /** The role, computed now: a member whose term is no longer proven is a standby before it has been told. */
  get role(): Role {
    return this.term === undefined ? "standby" : "leader";
  }

  get phase(): PhaseName {
    return this.#phase.at;
  }

  /** The own term, while it is proven that this member leads. */
  get term(): Term | undefined {
    return this.#phase.at === "leading" && (this.#term?.remainingMs ?? 0) > 0 ? this.#term : undefined;
  }

  /** Who leads; `undefined` for nobody, and when etcd has not confirmed it for longer than it may be true. */
  get leader(): Candidate | undefined {
    const age = this.#etcd.clock.now() - this.#line.confirmedAt;
    return this.#line.synced && age <= this.#line.trustMs ? this.#line.leader : undefined;
  }

  /** The line of succession as last seen, the leader first. */
  get line(): readonly Candidate[] {
    return this.#line.candidates;
  }

  /**
   * What happens to this member, the present state first; ends when the member has left. A reader who is 1024 changes
   * behind is taken to the newest, whose `skipped` says how many he missed.
   */
  async *changes(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<MemberChange, void> {
    const { signal } = options;
    signal?.throwIfAborted();
    const feed = new Feed<MemberChange>();
    feed.push(this.#state());
    if (this.#left !== undefined) feed.end();
    this.#feeds.add(feed);
    const forget = onAbort(signal, () => feed.end(signal?.reason));
    try {
      for await (const { value, skipped } of feed) yield skipped === 0 ? value : { ...value, skipped };
    } finally {
      forget();
      this.#feeds.delete(feed);
    }
  }

  /**
   * Leaves the election: the term ends, the work stops, the key is deleted, the lease revoked. Resolves within
   * `timeoutMs` (default: the time for the work to stop and 2 s more); what etcd has not confirmed by then ends with the lease.
   */
  leave(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#left ??= this.#leave(options.timeoutMs);
    return this.#left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }

  async #leave(timeoutMs: number | undefined): Promise<void> {
    const { clock } = this.#etcd;
    this.#leaving.abort(closedError("the member"));
    this.#candidacy?.end("resigned");
    const limit = timeoutMs ?? this.#stopTimeoutMs(this.#settings.ttlSeconds * 1_000) + 2_000;
    const late = new AbortController();
    const cancel = clock.at(clock.now() + limit, () => late.abort(closedError("the member")));
    const done = this.#running.then(() => Promise.all(this.#givingBack));
    await unlessAborted(done, late.signal).catch(() => {
      this.#etcd.logger.warn(
        { election: this.election, id: this.id },
        "left before everything had stopped; the lease will end by itself",
      );
    });
    cancel();
    for (const forget of this.#forgets) forget();
    this.#line.release();
    for (const feed of this.#feeds) feed.end();
    if (this.#ownsEtcd) await this.#etcd.close();
  }

  #stopTimeoutMs(ttlMs: number): number {
    return Math.min(this.#settings.stopTimeoutMs ?? ttlMs / 10, ttlMs / 2);
  }

  /** One candidacy after another until the member leaves. Never rejects. */
  async #run(): Promise<void> {
    const { clock, logger } = this.#etcd;
    const left = this.#leaving.signal;
    for (let failures = 0; !left.aborted; ) {
      const startedAt = clock.now();
      let cause: Cause | undefined;
      try {
        // Who leads is asked and told before this member stands.
        await unlessAborted(this.#line.sync(), left);
        cause = await this.#stand();
      } catch (error) {
        if (left.aborted) break;
        if (this.#joined !== undefined && error instanceof SuccessionError && hopeless.has(error.code)) {
          this.#joined.reject(error);
          break;
        }
        logger.warn({ election: this.election, id: this.id, error }, "cannot join the election yet");
      }
      if (left.aborted) break;
      if (cause !== undefined && unwanted.has(cause) && this.#settings.onLost === "exit") {
        await this.#exit(cause);
      }
      const chosen = cause === "finished" || cause === "failed";
      failures = clock.now() - startedAt > settledMs ? (chosen ? 1 : 0) : failures + 1;
      // Back at once after a first loss; whoever gave up, or fails again and again, lets others try.
      const pause = chosen
        ? backoffMs(clock, failures, firstPauseMs, longestPauseMs)
        : failures <= 1
          ? 0
          : backoffMs(clock, failures, 50, this.#settings.ttlSeconds * 200);
      await sleep(clock, pause, left).catch(() => {});
    }
    this.#joined?.reject(left.reason ?? closedError("the member"));
  }

  /** One candidacy, from its lease to the end of its work. Resolves to why it ended. */
  async #stand(): Promise<Cause> {
    const { ttlSeconds, value, prepare, lead } = this.#settings;
    const left = this.#leaving.signal;
    const session = await Session.open(this.#etcd, { ttlSeconds, signal: left });
    session.leaveRevokingToOwner();
    const stopTimeoutMs = this.#stopTimeoutMs(session.ttlSeconds * 1_000);
    let candidacy: Candidacy;
    try {
      candidacy = await Candidacy.join(session, this.election, value, { signal: left, stopTimeoutMs });
    } catch (error) {
      void this.#giveBack(() => session.close({ timeoutMs: 2_000 }));
      throw error;
    }
    const work = new Work({ prepare, lead }, this.#etcd.logger, () => this.#on({ on: "ready" }));
    candidacy.onMoved = () => this.#on({ on: "moved", position: candidacy.position });
    candidacy.onElected = (term) => {
      this.#term = term;
      this.#on({ on: "elected", token: term.token });
      void work.start(term, (cause) => candidacy.end(cause));
    };
    candidacy.onEnded = (cause) => {
      this.#cause = cause;
      this.#on({ on: "lost", cause });
    };
    this.#candidacy = candidacy;
    this.#cause = undefined;
    this.#on({ on: "joined", position: candidacy.position });
    this.#joined?.resolve();
    this.#joined = undefined;
    void this.#putDetails(session);
    candidacy.start();
    if (left.aborted) candidacy.end("resigned");
    await new Promise<void>((resolve) => onAbort(candidacy.signal, resolve));
    const cause = candidacy.endCause ?? "closed";
    // It may have ended before anybody listened.
    this.#on({ on: "lost", cause });
    this.#candidacy = undefined;
    await this.#stop(work, session, stopTimeoutMs, cause);
    this.#term = undefined;
    // In this order: others lead from the deletion on, and the details go with the lease.
    const given = this.#giveBack(async () => {
      if (session.endCause !== "lease-gone") await candidacy.release().catch(() => {});
      session.end("resigned");
      await session.revoke();
    });
    // On a healthy cluster the old key is gone before the member is outside; a cut-off member does not wait for that.
    if (session.endCause === undefined) await unlessAborted(given, session.signal).catch(() => {});
    this.#on({ on: "released" });
    return cause;
  }

  /**
   * Waits for the work to stop. Until then the key is kept, so that no successor starts beside it; but not for longer
   * than the budget: then renewal stops, and the deadline ends the key.
   */
  async #stop(work: Work, session: Session, stopTimeoutMs: number, cause: Cause): Promise<void> {
    const { clock, logger } = this.#etcd;
    const fields = { election: this.election, id: this.id };
    if (await work.settledWithin(clock, stopTimeoutMs)) return;
    logger.error(
      { ...fields, callback: work.running, stopTimeoutMs },
      "the work has not stopped in its time; the lease is no longer renewed",
    );
    session.stopRenewing();
    // A key that etcd took away protects nobody any more.
    const protectedMs = keyTaken.has(cause) ? 0 : session.remainingMs;
    if (await work.settledWithin(clock, protectedMs)) return;
    logger.error(
      { ...fields, callback: work.running },
      "the work still runs after the deadline, beside a possible successor",
    );
    if (this.#settings.onOverrun === "exit") process.exit(1);
    await work.settled;
  }

  /** Gives a key or lease back in the background; `leave` waits for it. */
  #giveBack(task: () => Promise<void>): Promise<void> {
    const given = task()
      .catch((error: unknown) => {
        this.#etcd.logger.warn(
          { election: this.election, id: this.id, error },
          "could not give a lease back",
        );
      })
      .finally(() => this.#givingBack.delete(given));
    this.#givingBack.add(given);
    return given;
  }

  async #putDetails(session: Session): Promise<void> {
    if (!this.#mayTellDetails) return;
    const { id, metaPrefix, details } = this.#settings;
    const key = detailsKey(this.election, session.leaseId, metaPrefix);
    const told = await putDetails(this.#etcd, session, key, {
      id,
      ...details,
      version,
      startedAt: this.#startedAt,
    });
    if (told || !this.#mayTellDetails) return;
    this.#mayTellDetails = false;
    this.#etcd.logger.warn(
      { election: this.election, id, key },
      "no right to store this member's details: it stands in the election without",
    );
  }

  async #exit(cause: Cause): Promise<void> {
    this.#etcd.logger.error(
      { election: this.election, id: this.id, cause },
      "lost against our will: exiting, as onLost asks",
    );
    // What can be given back quickly is; the rest ends with the lease.
    await Promise.race([Promise.all(this.#givingBack), sleep(this.#etcd.clock, exitPatienceMs)]);
    process.exit(1);
  }

  #on(event: PhaseEvent): void {
    const before = this.#phase;
    this.#phase = next(before, event);
    if (this.#phase === before) return;
    const { election, id } = this;
    this.#etcd.logger.info(
      { election, id, phase: this.#phase, from: before.at },
      `${before.at} -> ${this.#phase.at}`,
    );
    this.#tell();
  }

  #state(): MemberChange {
    const { role, phase, leader, term } = this;
    const position = this.#phase.at === "waiting" ? this.#phase.position : undefined;
    return { role, phase, position, leader, term, cause: this.#cause, skipped: 0 };
  }

  /** Tells every reader, if there is anything new. */
  #tell(): void {
    const state = this.#state();
    const shown = this.#shown;
    if (
      shown !== undefined &&
      shown.role === state.role &&
      shown.phase === state.phase &&
      shown.position === state.position &&
      shown.cause === state.cause &&
      shown.leader?.token === state.leader?.token &&
      shown.leader?.revision === state.leader?.revision
    ) {
      return;
    }
    this.#shown = state;
    for (const feed of this.#feeds) feed.push(state);
  }
}
