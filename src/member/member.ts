import type { CancelTimer } from "../clock.ts";
import { attemptTimeoutMs } from "../concurrency/deadline.ts";
import { type Candidate, Line } from "../concurrency/line.ts";
import type { Term } from "../concurrency/term.ts";
import { type Cause, closedError, SuccessionError } from "../errors.ts";
import { Etcd } from "../etcd/etcd.ts";
import { Checkup } from "../health/checkup.ts";
import { HealthServer } from "../health/health-server.ts";
import type { CheckedHealth } from "../health/options.ts";
import type { HealthReport } from "../health/report.ts";
import { stateMetrics } from "../health/state-metrics.ts";
import { guarded, type Logger } from "../log.ts";
import { type Metric, summed } from "../metric.ts";
import { type Handover, type HandoverOptions, handover } from "../steering/handover.ts";
import { onAbort, unlessAborted } from "../waiting.ts";
import { Changes, type MemberChange, type Role } from "./changes.ts";
import type { Companion, Surroundings } from "./companion.ts";
import { EndpointChecks } from "./endpoint-checks.ts";
import { Guarding } from "./guarding.ts";
import { Ends, healthReport } from "./health-report.ts";
import { Measurements } from "./measurements.ts";
import { type CheckedSettings, checkSettings, checkTimeoutMs, type MemberOptions } from "./options.ts";
import { next, outside, type Phase, type PhaseEvent, type PhaseName } from "./phase.ts";
import { Recorder } from "./recorder.ts";
import { Returns } from "./returns.ts";
import { Rounds, type WorkFailure } from "./rounds.ts";
import { Steering } from "./steering.ts";

export type { MemberChange, Role } from "./changes.ts";
export type { WorkFailure } from "./rounds.ts";

/** What a graceful end gets beside the time that the work has to stop. */
const returnMs = 2_000;

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
  readonly #logger: Logger;
  readonly #line: Line;
  readonly #returns: Returns;
  readonly #guarding: Guarding;
  readonly #rounds: Rounds;
  readonly #changes = new Changes();
  readonly #ends = new Ends();
  readonly #measurements: Measurements;
  readonly #companions: Set<Companion> = new Set();
  readonly #leaving = new AbortController();
  readonly #forgets: (() => void)[] = [];
  #phase: Phase = outside;
  #cause: Cause | undefined;
  #onJoined: () => void = () => {};
  #cancelTelling: CancelTimer = () => {};
  #running: Promise<void> = Promise.resolve();
  #left: Promise<void> | undefined;
  #health: HealthServer | undefined;
  #openingHealth: Promise<void> | undefined;
  readonly #steering: Steering;
  readonly #recorder: Recorder;
  #checkup: Checkup | undefined;
  /** Those who wait for the service to be well. */
  #onFit: () => void = () => {};

  private constructor(etcd: Etcd, settings: CheckedSettings, options: MemberOptions) {
    const { id, election } = settings;
    const { logger = etcd.logger } = options;
    this.id = id;
    this.election = election;
    this.#etcd = etcd;
    this.#ownsEtcd = options.etcd === undefined;
    this.#settings = settings;
    this.#logger = labelled(guarded(logger), { election, id });
    this.#line = Line.acquire(etcd, election);
    this.#measurements = new Measurements({
      ...{ member: this, clock: etcd.clock, line: this.#line, tally: settings.tally },
      endpoints: new EndpointChecks(etcd, this.#leaving.signal),
    });
    this.#returns = new Returns(etcd, this.#logger);
    this.#guarding = new Guarding(settings, this.#logger);
    this.#rounds = new Rounds({
      ...{ etcd, settings, logger: this.#logger, line: this.#line, returns: this.#returns },
      guarding: this.#guarding,
      left: this.#leaving.signal,
      companions: this.#companions,
      fit: (signal) => this.#fit(signal),
      healthy: () => (this.#checkup === undefined ? undefined : this.#checkup.trouble === undefined),
      on: (event) => this.#on(event),
      endKnown: () => this.#recorder.endKnown,
      onRenewed: (roundTripMs) => this.#measurements.renewed(roundTripMs),
    });
    this.#steering = new Steering({
      ...{ etcd, settings, logger: this.#logger, line: this.#line },
      candidacy: () => this.#rounds.candidacy,
      trouble: () => this.#checkup?.trouble,
    });
    this.#recorder = new Recorder({
      ...{ etcd, settings, logger: this.#logger, line: this.#line },
      candidacy: () => this.#rounds.candidacy,
    });
    this.#forgets.push(
      this.#line.subscribe(() => {
        this.#measurements.lineChanged();
        this.#tell();
        this.#steering.changed();
        this.#recorder.lineChanged();
      }),
    );
    this.#forgets.push(onAbort(etcd.closedSignal, () => void this.leave()));
    this.#tellLater();
  }

  /**
   * Joins an election. Resolves when the member's key exists; until then it waits through any outage of etcd, to the end
   * of `timeoutMs` (`TIMEOUT`) or until `signal` aborts. Bad options, a port for `health` that is taken, and refused
   * credentials reject at once.
   */
  static async join(options: MemberOptions): Promise<Member> {
    const settings = checkSettings(options);
    const { signal, timeoutMs = Number.POSITIVE_INFINITY } = options;
    signal?.throwIfAborted();
    options.etcd?.closedSignal.throwIfAborted();
    const limits = { attemptTimeoutMs: attemptTimeoutMs(settings.ttlSeconds * 1_000) };
    const etcd = options.etcd ?? new Etcd({ ...options, ...limits });
    const member = new Member(etcd, settings, options);
    const late = new AbortController();
    const cancel = etcd.clock.at(etcd.clock.now() + timeoutMs, () => {
      const message = `could not join ${settings.election} within ${timeoutMs} ms`;
      late.abort(new SuccessionError("TIMEOUT", `${message}${member.#hindrance}`));
    });
    try {
      await unlessAborted(unlessAborted(member.#start(), late.signal), signal);
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

  /** Where the member is in its life, computed now. */
  get phase(): PhaseName {
    const { at } = this.#phase;
    const over = (at === "promoting" || at === "leading") && !this.#termStands;
    return over ? "demoting" : at;
  }

  /** The own term, while it is proven that this member leads. */
  get term(): Term | undefined {
    return this.#phase.at === "leading" && this.#termStands ? this.#rounds.candidacy?.term : undefined;
  }

  /**
   * Who leads, which may be this member a moment before its role says so. `undefined` for nobody, after leaving, and when
   * etcd has not confirmed it for longer than it may be true.
   */
  get leader(): Candidate | undefined {
    if (this.#left !== undefined) return undefined;
    const { candidacy } = this.#rounds;
    // While the own term is proven no other leads, however long ago the line could be compared with etcd.
    const own = candidacy !== undefined && this.#termStands ? this.#line.find(candidacy) : undefined;
    if (own !== undefined) return own;
    if (!this.#line.synced) return undefined;
    const { leader, confirmedAt, trustMs } = this.#line;
    if (this.#etcd.clock.now() - confirmedAt > trustMs) return undefined;
    // A key of ours that was given up leads nobody, whether or not it still stands.
    const givenUp = candidacy?.endCause !== undefined && candidacy.token === leader?.token;
    return givenUp ? undefined : leader;
  }

  /** The line of succession as last seen, the leader first. */
  get line(): readonly Candidate[] {
    return this.#left === undefined ? this.#line.candidates : [];
  }

  /** The port on which the health endpoints are, which tells what a `health.port` of 0 has become. */
  get healthPort(): number | undefined {
    return this.#health?.port;
  }

  /**
   * What is measured of this member, as `/metrics` of the health endpoints shows it, computed now. Asking also begins a
   * look at etcd's endpoints, whose outcome the next call tells.
   */
  metrics(): readonly Metric[] {
    return [...stateMetrics(this.#healthReport()), ...this.#counted];
  }

  /** @internal What the health endpoints say, computed now. */
  get healthReport(): HealthReport {
    return this.#healthReport();
  }

  /** @internal What `metrics` tells beside the state. */
  get measured(): readonly Metric[] {
    return this.#measurements.metrics;
  }

  /** @internal Ends the own term, of whose work somebody knows that it is over or must be, before that has stopped. */
  fail(cause: WorkFailure): void {
    this.#rounds.fail(cause);
  }

  /** @internal Ties what serves on this member's behalf to its life. */
  accompany(companion: Companion): Surroundings {
    this.#companions.add(companion);
    return {
      ...{ etcd: this.#etcd, line: this.#line, logger: this.#logger },
      metaPrefix: this.#settings.metaPrefix,
      ownToken: () => this.#rounds.candidacy?.token,
    };
  }

  /**
   * What happens to this member, the present state first; ends when the member has left. A reader who is 1024 changes
   * behind is taken to the newest, whose `skipped` says how many he missed.
   */
  changes(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<MemberChange, void> {
    return this.#changes.read(() => this.#state(), options.signal);
  }

  /**
   * Has the leader, which may be this member, hand over to the candidate with the id or key `to`, else to the next in
   * line. Resolves when another one leads; what is refused rejects with `REFUSED`: see `handover`. `lead` may call this
   * and must not wait for it.
   */
  async handover(options: Omit<HandoverOptions, "metaPrefix"> = {}): Promise<Handover> {
    if (this.#left !== undefined) throw closedError("the member");
    const { metaPrefix } = this.#settings;
    return await handover(this.#etcd, this.election, { by: this.id, ...options, metaPrefix });
  }

  /**
   * Leaves the election: the term ends, the work stops, the key is deleted, the lease revoked. Resolves within
   * `timeoutMs` (default: the time for the work to stop and 2 s more); what etcd has not confirmed by then ends with the
   * lease. Leaving twice is leaving once. `lead` may call this and must not wait for it.
   */
  async leave(options: { readonly timeoutMs?: number } = {}): Promise<void> {
    const { timeoutMs = this.#settings.stopTimeoutMs(this.#settings.ttlSeconds * 1_000) + returnMs } =
      options;
    checkTimeoutMs(timeoutMs);
    this.#left ??= this.#leave(timeoutMs);
    await this.#left;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }

  /** Begins the rounds. Resolves when the first key exists; rejects when there will be none. */
  async #start(): Promise<void> {
    if (this.#settings.health !== undefined) {
      // A port that is taken must be known before there is a key; meanwhile the connection is opened and the line read.
      void this.#line.sync().catch(() => {});
      this.#openingHealth = this.#openHealth(this.#settings.health);
      await this.#openingHealth;
      this.#leaving.signal.throwIfAborted();
    }
    const { checkup } = this.#settings;
    if (checkup !== undefined) {
      const { clock } = this.#etcd;
      this.#checkup = new Checkup(checkup, { clock, onChanged: (trouble) => this.#healthChanged(trouble) });
    }
    await new Promise<void>((resolve, reject) => {
      this.#onJoined = resolve;
      // Ending without a key, the member has left.
      this.#running = this.#rounds.run().then(() => reject(this.#leaving.signal.reason), reject);
    });
  }

  async #openHealth(health: CheckedHealth): Promise<void> {
    this.#health = await HealthServer.open({
      ...{ health, clock: this.#etcd.clock, logger: this.#logger },
      ttlMs: this.#settings.ttlSeconds * 1_000,
      report: () => this.#healthReport(),
      metrics: () => this.#counted,
    });
  }

  /** What is measured by this member and whatever serves on its behalf. */
  get #counted(): readonly Metric[] {
    const companions = [...this.#companions].flatMap((companion) => companion.metrics());
    return [...this.#measurements.metrics, ...summed(companions)];
  }

  #healthChanged(trouble: string | undefined): void {
    if (trouble === undefined) this.#logger.info({}, "the service is healthy again");
    else this.#logger.warn({ reason: trouble }, "the service is unhealthy");
    if (trouble === undefined) this.#onFit();
    this.#rounds.detailsChanged();
    this.#steering.changed();
  }

  /** Resolves when the service is not known to be unwell; rejects when the signal aborts. */
  async #fit(signal: AbortSignal): Promise<void> {
    if (this.#checkup?.trouble === undefined) return;
    const fit = new Promise<void>((resolve) => {
      this.#onFit = resolve;
    });
    await unlessAborted(fit, signal);
  }

  async #leave(timeoutMs: number): Promise<void> {
    const { clock, closedSignal } = this.#etcd;
    this.#steering.stop();
    this.#checkup?.stop();
    this.#leaving.abort(closedSignal.aborted ? closedSignal.reason : closedError("the member"));
    for (const companion of this.#companions) companion.leaving();
    this.#rounds.candidacy?.end(closedSignal.aborted ? "closed" : "resigned");
    const late = new AbortController();
    const cancel = clock.at(clock.now() + timeoutMs, () => late.abort());
    const done = this.#running
      .then(() => Promise.all([this.#returns.settled(), this.#recorder.settled()]))
      .then(() => Promise.all([...this.#companions].map((companion) => companion.left())));
    await unlessAborted(done, late.signal).catch(() => {
      this.#logger.warn(
        { phase: this.phase },
        "left before everything had stopped; the lease will end by itself",
      );
    });
    cancel();
    for (const forget of this.#forgets) forget();
    this.#cancelTelling();
    this.#returns.stop();
    this.#recorder.stop();
    this.#line.release();
    this.#changes.end();
    if (this.#ownsEtcd) await this.#etcd.close();
    await this.#guarding.end();
    // Until now it said that this member stands by.
    await this.#openingHealth?.catch(() => {});
    await this.#health?.close();
  }

  /** What keeps this member from joining, where something is known. */
  get #hindrance(): string {
    const unfit = this.#checkup?.trouble;
    const known = [
      ...this.#etcd.troubles,
      ...(unfit === undefined ? [] : [`the service is unhealthy: ${unfit}`]),
    ];
    return known.length === 0 ? "" : ` (${known.join("; ")})`;
  }

  get #termStands(): boolean {
    return (this.#rounds.candidacy?.term?.remainingMs ?? 0) > 0;
  }

  #on(event: PhaseEvent): void {
    const before = this.#phase;
    this.#phase = next(before, event);
    this.#steering.changed();
    this.#record(before, event);
    if (event.on === "joined" || event.on === "witnessing") {
      this.#cause = undefined;
      this.#onJoined();
    }
    if (event.on === "lost") {
      this.#cause = event.cause;
      this.#ends.add(event.cause, this.#etcd.clock.date().toISOString());
    }
    if (this.#phase === before) return;
    this.#measurements.phaseChanged(before, this.#phase, event.on === "lost" ? event.cause : undefined);
    this.#logger.info({ phase: this.#phase, event: event.on }, `${before.at} -> ${this.#phase.at}`);
    this.#tell();
  }

  #record(before: Phase, event: PhaseEvent): void {
    const { candidacy } = this.#rounds;
    if (event.on === "joined") this.#recorder.joined();
    if (event.on === "elected" && candidacy !== undefined) this.#recorder.begun(candidacy);
    const ledBefore = before.at === "promoting" || before.at === "leading";
    if (event.on === "lost" && ledBefore) this.#recorder.ended(event.cause);
  }

  #state(): MemberChange {
    const { role, phase, leader, term } = this;
    const position = this.#phase.at === "waiting" ? this.#phase.position : undefined;
    return { role, phase, position, leader, term, cause: this.#cause, skipped: 0 };
  }

  #healthReport(): HealthReport {
    return healthReport({
      ...{ election: this.election, id: this.id, ends: this.#ends, now: this.#etcd.clock.now() },
      ...{ state: this.#state(), leaving: this.#left !== undefined, candidacy: this.#rounds.candidacy },
      ...{ witness: !this.#settings.candidate, unfit: this.#checkup?.trouble },
      ...{ line: this.#line, candidates: this.line, ttlMs: this.#settings.ttlSeconds * 1_000 },
    });
  }

  #tell(): void {
    // What is over by the clock ends now, with its cause, rather than be told without one.
    this.#rounds.candidacy?.checkDeadline();
    this.#changes.tell(this.#state());
  }

  /** The mere passing of time changes who is known to lead; no event tells that. */
  #tellLater(): void {
    const { clock } = this.#etcd;
    this.#cancelTelling = clock.at(clock.now() + (this.#settings.ttlSeconds * 1_000) / 3, () => {
      this.#tell();
      this.#tellLater();
    });
  }
}

/** A logger that says with every message whose it is. */
function labelled(logger: Logger, whose: { readonly election: string; readonly id: string }): Logger {
  return {
    debug: (fields, message) => logger.debug({ ...whose, ...fields }, message),
    info: (fields, message) => logger.info({ ...whose, ...fields }, message),
    warn: (fields, message) => logger.warn({ ...whose, ...fields }, message),
    error: (fields, message) => logger.error({ ...whose, ...fields }, message),
  };
}
