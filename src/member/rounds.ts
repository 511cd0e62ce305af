import { Candidacy } from "../concurrency/candidacy.ts";
import type { Line } from "../concurrency/line.ts";
import { Session } from "../concurrency/session.ts";
import { type Cause, type ErrorCode, SuccessionError } from "../errors.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { LinkedSignal } from "../etcd/linked-signal.ts";
import type { Logger } from "../log.ts";
import { passedKey } from "../steering/names.ts";
import { version } from "../version.ts";
import { backoffMs, onAbort, sleep, unlessAborted } from "../waiting.ts";
import { memberAddress } from "./address.ts";
import type { Companion } from "./companion.ts";
import { detailsKey, type MemberDetails, markDraining, putDetails } from "./details.ts";
import type { Guarding } from "./guarding.ts";
import type { CheckedSettings } from "./options.ts";
import type { PhaseEvent } from "./phase.ts";
import type { Returns } from "./returns.ts";
import { namingTheRight } from "./rights.ts";
import { Work } from "./work.ts";

/** Errors that trying again at the first joining cannot help. */
const hopeless: ReadonlySet<ErrorCode> = new Set([
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

/** Ends by plan: the leader hands over in good order. */
const planned: ReadonlySet<Cause> = new Set(["resigned", "finished", "handover"]);

/** Ends by which the key is gone from etcd: a successor may lead already. */
const keyTaken: ReadonlySet<Cause> = new Set(["lease-gone", "key-gone", "store-restored"]);

/** Whose work ended the term waits so long before it stands again, doubled from time to time: others have their turn. */
const firstPauseMs = 1_000;
const longestPauseMs = 30_000;
/** A candidacy that lived so long was no failure to be counted. */
const settledMs = 10_000;
/** A lease being granted while the member leaves gets so long to come, for nobody but us can give it back. */
const graceMs = 500;
/** Whether it was passed over, a member asks for so long before it takes that for a loss. */
const passedMs = 1_000;
/** How long `onLost: "exit"` waits for etcd to take the key and lease back. */
const exitPatienceMs = 1_000;

/** What the log says when a round began without a key: whoever shows it to people knows it by that. */
export const cannotJoin = "cannot join the election yet";

/** What may become of the work of a term. */
export type WorkFailure = Extract<Cause, "finished" | "failed" | "unhealthy" | "hung">;

export interface RoundsOptions {
  readonly etcd: Etcd;
  readonly logger: Logger;
  readonly settings: CheckedSettings;
  readonly line: Line;
  readonly returns: Returns;
  readonly guarding: Guarding;
  /** Aborts when the member leaves. */
  readonly left: AbortSignal;
  /** They stop with each term, as the work does. */
  readonly companions: ReadonlySet<Companion>;
  /** Resolves when the service is well; nobody stands before that. Rejects when the signal aborts. */
  readonly fit: (signal: AbortSignal) => Promise<void>;
  /** Whether the service is well; `undefined` where nobody checks that. */
  readonly healthy: () => boolean | undefined;
  /** Told in the turn in which it happens. */
  readonly on: (event: PhaseEvent) => void;
  /** Resolves when it is known how the last term ended, for which its lease may have to stand. Never rejects. */
  readonly endKnown: () => Promise<void>;
  /** Told of every renewal of the lease. */
  readonly onRenewed: (roundTripMs: number) => void;
}

/**
 * One candidacy after another, each with a lease and so a key of its own, until the member leaves: get a lease, put the
 * key, wait, work, stop, give back, and again. A round begins only when the work of the one before has settled.
 */
export class Rounds {
  readonly #options: RoundsOptions;
  readonly #startedAt: string;
  #candidacy: Candidacy | undefined;
  /** The one whose work said that it has failed. */
  #failed: Candidacy | undefined;
  #hasJoined = false;
  #detailsRefused = false;
  /** On whose lease the newest details are. */
  #detailed: Session | undefined;

  constructor(options: RoundsOptions) {
    this.#options = options;
    this.#startedAt = options.etcd.clock.date().toISOString();
  }

  /** The newest candidacy, ended or not. */
  get candidacy(): Candidacy | undefined {
    return this.#candidacy;
  }

  /**
   * Ends the term before its work has stopped, because of what has become of that. Whether it then stops in time is looked
   * after as at any end of a term.
   */
  fail(cause: WorkFailure): void {
    const candidacy = this.#candidacy;
    if (candidacy?.term === undefined || candidacy.endCause !== undefined) return;
    this.#failed = candidacy;
    candidacy.end(cause);
  }

  /** What the member tells about itself has changed. */
  detailsChanged(): void {
    // Once its claim is given up nothing must take back what was said of that.
    if (this.#detailed !== undefined && this.#candidacy?.endCause === undefined) {
      void this.#putDetails(this.#detailed);
    }
  }

  /** Resolves when the member has left and its work has settled; rejects if the first joining is hopeless. */
  async run(): Promise<void> {
    const { etcd, logger, line, left, settings } = this.#options;
    const { clock } = etcd;
    for (let failures = 0; !left.aborted; ) {
      const startedAt = clock.now();
      let cause: Cause | undefined;
      try {
        await this.#options.fit(left);
        await unlessAborted(line.sync(), left);
        if (settings.candidate) await settings.admission?.open(line, left);
        const { leader, candidates } = line;
        logger.info(
          { leader: leader?.id, candidates: candidates.length },
          leader === undefined ? "about to stand: nobody leads" : "about to stand behind the leader",
        );
        cause = settings.candidate ? await this.#stand() : await this.#witness();
      } catch (refusal) {
        if (left.aborted) return;
        const error = namingTheRight(refusal, settings.election);
        if (!this.#hasJoined && error instanceof SuccessionError && hopeless.has(error.code)) throw error;
        logger.warn({ error }, cannotJoin);
      }
      if (left.aborted) return;
      if (cause !== undefined && this.#mustExit(cause)) await this.#exit(cause);
      failures = clock.now() - startedAt > settledMs ? 1 : failures + 1;
      await sleep(clock, this.#pauseMs(cause, failures), left).catch(() => {});
    }
  }

  #pauseMs(cause: Cause | undefined, failures: number): number {
    const { etcd, settings } = this.#options;
    const failed = this.#failed !== undefined && this.#failed === this.#candidacy;
    return cause === "finished" || cause === "failed" || failed
      ? backoffMs(etcd.clock, failures, firstPauseMs, longestPauseMs)
      : backoffMs(etcd.clock, failures, 50, settings.ttlSeconds * 200);
  }

  /** Holds a lease for the details, and takes no key; until the lease is lost or the member leaves. */
  async #witness(): Promise<undefined> {
    const { returns, left, on } = this.#options;
    const held = await this.#open();
    this.#hasJoined = true;
    on({ on: "witnessing" });
    void this.#putDetails(held);
    const over = new LinkedSignal(left, held.signal);
    await new Promise<void>((resolve) => {
      onAbort(over.signal, resolve);
    });
    over.release();
    await unlessAborted(returns.give(held), held.signal).catch(() => {});
    return undefined;
  }

  /** One round. Resolves to why its candidacy ended, if there was to be one. */
  async #stand(): Promise<Cause | undefined> {
    const { settings, returns, guarding, left, on, endKnown } = this.#options;
    await unlessAborted(guarding.begin(), left);
    const session = await this.#open();
    let candidacy: Candidacy | undefined;
    try {
      const ttlMs = session.ttlSeconds * 1_000;
      const stopTimeoutMs = settings.stopTimeoutMs(ttlMs);
      const takeover = settings.takeover(ttlMs);
      const { election, value } = settings;
      guarding.hold(session);
      candidacy = await Candidacy.join(session, election, value, { signal: left, stopTimeoutMs, takeover });
      if (settings.admission?.admits(candidacy) === false) return undefined;
      guarding.hold(session, candidacy, takeover);
      return await this.#follow(candidacy, stopTimeoutMs);
    } finally {
      await unlessAborted(endKnown(), session.signal).catch(() => {});
      const given = returns.give(session, candidacy).then(() => guarding.drop(session));
      // On a healthy cluster the key is gone before the member is outside; one that is cut off does not wait for that.
      await unlessAborted(given, session.signal).catch(() => {});
      on({ on: "released" });
    }
  }

  /** A session whose lease the rounds give back, not the session itself: the work may outlive it. */
  async #open(): Promise<Session> {
    const { etcd, settings, returns, left, onRenewed } = this.#options;
    const late = new AbortController();
    const { ttlSeconds, hang } = settings;
    const opening = Session.open(etcd, { ttlSeconds, ...hang, onRenewed, signal: late.signal });
    let session: Session;
    try {
      session = await unlessAborted(opening, left);
    } catch (error) {
      if (left.aborted) {
        const cancel = etcd.clock.at(etcd.clock.now() + graceMs, () => late.abort(left.reason));
        returns.giveWhenOpen(opening.finally(cancel));
      }
      throw error;
    }
    session.leaveRevokingToOwner();
    return session;
  }

  /** From the key's creation to the end of the work. */
  async #follow(candidacy: Candidacy, stopTimeoutMs: number): Promise<Cause> {
    const { etcd, logger, settings, left, on } = this.#options;
    const { prepare, lead } = settings;
    const work = new Work({
      ...{ prepare, lead, clock: etcd.clock, logger, patienceMs: candidacy.ttlMs },
      onReady: () => on({ on: "ready" }),
      onOver: (cause) => {
        // Work that asks for the time left may stop before the timer has fired: that is no finish.
        candidacy.checkDeadline();
        candidacy.end(cause);
      },
    });
    candidacy.onMoved = () => on({ on: "moved", position: candidacy.position });
    candidacy.onElected = (term) => {
      on({ on: "elected", token: term.token });
      if (candidacy.endCause === undefined) work.start(term);
    };
    candidacy.onEnded = (cause) => on({ on: "lost", cause });
    this.#candidacy = candidacy;
    const first = !this.#hasJoined;
    this.#hasJoined = true;
    on({ on: "joined", position: candidacy.position });
    void this.#putDetails(candidacy.session);
    // `const member = await Member.join(…)` has its value before `lead` may name it.
    if (first) await new Promise((resolve) => setImmediate(resolve));
    if (left.aborted) candidacy.end("resigned");
    else candidacy.start();
    const cause = await ended(candidacy);
    const byPlan = candidacy.term !== undefined && planned.has(cause);
    const marked = byPlan ? this.#markDraining(candidacy.session) : undefined;
    await this.#stop(work, candidacy.session, cause, stopTimeoutMs);
    candidacy.workEnded();
    // etcd keeps no order between two requests of one client: sent right behind it, the deletion may come first.
    await marked;
    return cause === "key-gone" && (await this.#wasPassed(candidacy)) ? "handover" : cause;
  }

  /** Whether a leader's handover deleted the key of one that waits: no loss to exit for. Never rejects. */
  async #wasPassed({ session, term }: Candidacy): Promise<boolean> {
    const { etcd, settings } = this.#options;
    if (term !== undefined || settings.onLost !== "exit") return false;
    const key = passedKey(settings.election, session.leaseId, settings.metaPrefix);
    try {
      return (await etcd.range(key, { timeoutMs: passedMs, countOnly: true })).count > 0n;
    } catch (error) {
      etcd.logger.debug({ error, key }, "cannot read why a key has gone");
      return false;
    }
  }

  /**
   * Waits for the work to stop. Until then the key is kept, so that no successor starts beside it; but not for longer
   * than the budget: then renewal stops, and the deadline ends the key.
   */
  async #stop(work: Work, session: Session, cause: Cause, stopTimeoutMs: number): Promise<void> {
    const { logger } = this.#options;
    // Where a timer was late, because the thread was blocked or the machine slept, less of the budget is left.
    const late = cause === "deadline" || cause === "hung";
    const budgetMs = late ? Math.min(stopTimeoutMs, session.remainingMs) : stopTimeoutMs;
    const down = { cause, budgetMs, lost: session.signal };
    work.alongside([...this.#options.companions].map((companion) => companion.stepDown(down)));
    if (await work.settledWithin(budgetMs)) return;
    session.stopRenewing();
    // A key that etcd took away protects nobody any more.
    const protectedMs = keyTaken.has(cause) ? 0 : session.protectedMs;
    if (protectedMs > 0) {
      const fields = { callback: work.running, stopTimeoutMs, protectedMs };
      logger.error(fields, "the work has not stopped in its time; its lease is no longer renewed");
      if (await work.settledWithin(protectedMs)) return;
    }
    logger.error(
      { callback: work.running, cause },
      "the work still runs when it must not: a successor may lead beside it",
    );
    if (this.#options.settings.onOverrun === "exit" || this.#mustExit(cause)) process.exit(1);
    await work.settled;
  }

  /** Never rejects. */
  async #putDetails(session: Session): Promise<void> {
    const { etcd, logger } = this.#options;
    const key = this.#detailsKey(session);
    this.#detailed = session;
    const error = await putDetails(etcd, session, key, () => this.#details);
    if (error === undefined || this.#detailsRefused) return;
    this.#detailsRefused = true;
    logger.warn({ error, key }, "etcd refuses this member's details: it stands in the election without");
  }

  /** Where nobody can route to this member it is of no use to anybody. */
  async #markDraining(session: Session): Promise<void> {
    const details = this.#details;
    if (this.#detailsRefused || memberAddress(details.id, details) === undefined) return;
    await markDraining(this.#options.etcd, session, this.#detailsKey(session), details);
  }

  get #details(): MemberDetails {
    const { id, details } = this.#options.settings;
    const healthy = this.#options.healthy();
    const told = healthy === undefined ? {} : { healthy };
    return { id, ...details, version, startedAt: this.#startedAt, ...told };
  }

  #detailsKey(session: Session): string {
    const { election, metaPrefix } = this.#options.settings;
    return detailsKey(election, session.leaseId, metaPrefix);
  }

  #mustExit(cause: Cause): boolean {
    return this.#options.settings.onLost === "exit" && unwanted.has(cause);
  }

  async #exit(cause: Cause): Promise<never> {
    const { etcd, logger, returns } = this.#options;
    logger.error({ cause }, "lost against our will: exiting, as onLost asks");
    // What can be given back quickly is; the rest ends with the lease.
    await Promise.race([returns.settled(), sleep(etcd.clock, exitPatienceMs)]);
    process.exit(1);
  }
}

async function ended(candidacy: Candidacy): Promise<Cause> {
  await new Promise<void>((resolve) => {
    onAbort(candidacy.signal, resolve);
  });
  return candidacy.endCause ?? "closed";
}
