import { type SystemClock, systemClock } from "../clock.ts";
import type { Term } from "../concurrency/term.ts";
import type { Cause } from "../errors.ts";
import type { NoReport } from "../health/answer.ts";
import type { HealthReport } from "../health/report.ts";
import { stateMetrics } from "../health/state-metrics.ts";
import { Member } from "../member/member.ts";
import { Tally } from "../member/tally.ts";
import type { Metric } from "../metric.ts";
import { onAbort } from "../waiting.ts";
import type { Announcements } from "./announcements.ts";
import type { Containment } from "./containment.ts";
import type { Exit } from "./exit.ts";
import { Health } from "./health.ts";
import { Lead } from "./lead.ts";
import { Leash, reapMs } from "./leash.ts";
import { Namesakes } from "./namesake.ts";
import type { SupervisorOptions } from "./options.ts";
import { Program } from "./program.ts";
import { programEnvironment } from "./program-environment.ts";
import { Restarts } from "./restarts.ts";
import { type StepDown, stepDown } from "./step-down.ts";
import type { Warden } from "./warden.ts";

/** Ends by which etcd has no key of ours any more: a successor may lead already, and there is no time left. */
const keyTaken: ReadonlySet<Cause> = new Set(["key-gone", "lease-gone", "store-restored"]);

/** What a graceful end gets beside the time that the program has to stop. */
const returnMs = 2_000;

/** What both ways of standing by have in common: how the program starts and ends, and how the member joins. */
export class Supervision {
  readonly options: SupervisorOptions;
  readonly announcements: Announcements;
  readonly clock: SystemClock = systemClock;
  readonly #containment: Containment;
  readonly #warden: Warden;
  readonly #restarts: Restarts;
  readonly #namesakes: Namesakes | undefined;
  /** Of all its members: a warm program has one for each spell in line. */
  readonly #tally = new Tally();
  readonly #leaving = new AbortController();
  /** Resolves when the line is to be left for good. */
  readonly left: Promise<void> = aborted(this.#leaving.signal);
  /** Where the program finds the API, if there is one. */
  apiAddress: string | undefined;
  #program: Program | undefined;
  #member: Member | undefined;
  #lead: Lead | undefined;
  #steppingDown: Promise<StepDown> | undefined;
  #code: number | undefined;
  #hurried = false;

  constructor(
    options: SupervisorOptions,
    containment: Containment,
    warden: Warden,
    announcements: Announcements,
  ) {
    this.options = options;
    this.announcements = announcements;
    this.#containment = containment;
    this.#warden = warden;
    this.#restarts = new Restarts(options.restarts);
    this.#namesakes = this.#namesakesOf(options);
  }

  /** Aborts when the line is to be left for good. */
  get leaving(): AbortSignal {
    return this.#leaving.signal;
  }

  /** What to end with. */
  get code(): number {
    return this.#code ?? 0;
  }

  /** The run of the program that there is now, or was last. */
  get program(): Program | undefined {
    return this.#program;
  }

  /** Leave the line; the program that is stopped for that decides what to end with, unless it is decided already. */
  leave(code?: number): void {
    this.#code ??= code;
    this.#leaving.abort(new Error("told to stop"));
  }

  /** Whoever asks twice does not want to wait. */
  hurry(): void {
    this.#hurried = true;
    this.leave();
    void this.#program?.kill();
  }

  /** How long before the deadline a term that is not renewed ends: time to stop, for the hook, and to die. */
  get stopTimeoutMs(): number {
    const ttlMs = this.options.ttlSeconds * 1_000;
    return Math.min(this.options.graceMs + this.#hookMs + reapMs(ttlMs), ttlMs / 2);
  }

  /** How long leaving may take. */
  get leaveTimeoutMs(): number {
    return this.stopTimeoutMs + returnMs;
  }

  /** When the program of a term must be dead, which the shim is told. */
  leash(term: Term): Leash {
    const spareMs = this.stopTimeoutMs - reapMs(this.options.ttlSeconds * 1_000);
    return new Leash(this.clock, term, spareMs, (killAt) => this.#warden.until(killAt));
  }

  /** Tells the world that the program leads. Resolves to `undefined` where it is too late to begin anything. */
  async begin(term: Term, leash: Leash): Promise<Lead | undefined> {
    if (leash.killAt <= this.clock.now() || term.signal.aborted) return undefined;
    this.options.on({ on: "leads", token: term.token });
    const lead = Lead.begin(term, this.announcements, (cause) => this.#member?.fail(cause));
    this.#lead = lead;
    // Whoever looks into the file when he is told finds what it means.
    await this.announcements.filed;
    if (!lead.isOver) return lead;
    leash.stop();
    lead.end();
    return undefined;
  }

  /** Hands the lead over to the next in line. Whoever asks meanwhile hears the same. */
  async stepDown(): Promise<StepDown> {
    this.#steppingDown ??= this.#stepDown().finally(() => {
      this.#steppingDown = undefined;
    });
    return await this.#steppingDown;
  }

  /** How the member is, computed now; it leads only where its program does. */
  get report(): HealthReport | NoReport {
    const report = this.#member?.healthReport;
    if (report === undefined) return { reason: "not in the line of succession" };
    // Its member has left; it has not.
    if (report.status.leaving && !this.leaving.aborted) return outOfLine(report);
    const leads = this.announcements.role.remainingMs > 0;
    return report.role === "standby" || leads ? report : resigned(report, "the program is stopping");
  }

  /** What is measured, as a member tells it; also while there is none. */
  get metrics(): readonly Metric[] {
    const { election, id } = this.options;
    const { report } = this;
    const none = { token: null, leaseRemainingMs: 0, phase: "outside", position: null };
    const state = "role" in report ? report : { role: "standby" as const, status: { election, id, ...none } };
    return [...stateMetrics(state), ...(this.#member?.measured ?? this.#tally.metrics({ election, id }))];
  }

  /** The program is bound to no term any more. */
  unleash(): void {
    this.#warden.until(null);
  }

  /** Starts the program: for a term, which it must not outlive, or as a standby. */
  launch(term: Term | undefined, until: number | null): Program {
    const { options, clock } = this;
    const { command, heartbeatFd, roleFile, election, id, on } = options;
    const env = programEnvironment(options.env, {
      role: term === undefined ? "standby" : "leader",
      ...{ election, id, token: term?.token, heartbeatFd, roleFile, api: this.apiAddress },
    });
    const program = new Program({
      ...{ clock, command, env, heartbeatFd, until },
      containment: this.#containment,
      warden: this.#warden,
    });
    this.#program = program;
    on({ on: "started", pid: program.pid, token: term?.token });
    void program.gone.then((exit) => {
      on({ on: "ended", exit });
      if (this.leaving.aborted) this.#code ??= exit.code;
    });
    if (this.#hurried) void program.kill();
    return program;
  }

  watch(program: Program): Health {
    return new Health(this.clock, this.options.health, program.heartbeats);
  }

  /** Kills the program, saying why. */
  async kill(program: Program, cause: Cause, why: string): Promise<Exit> {
    this.options.on({ on: "killing", cause, why });
    return await program.kill();
  }

  /** Stops the program because its lead is over, before anybody else may lead. */
  async stopInTime(program: Program, cause: Cause, killAt: number): Promise<Exit> {
    if (keyTaken.has(cause)) return await this.kill(program, cause, "etcd removed the leader's key");
    return await this.stop(program, cause, killAt);
  }

  /** Stops the program within the grace time, and before `killAt`. */
  async stop(program: Program, cause: Cause, killAt: number = Number.POSITIVE_INFINITY): Promise<Exit> {
    const latest = this.stopBy(killAt);
    this.options.on({ on: "stopping", cause, withinMs: Math.max(0, latest - this.clock.now()) });
    return await program.stop(latest);
  }

  /** Until when the program may stop by itself: the hook comes after it, and before all must be dead. */
  stopBy(killAt: number): number {
    return Math.min(this.clock.now() + this.options.graceMs, killAt - this.#hookMs);
  }

  /** Decides what follows from an end that nobody asked for. Returns how many there were lately, if it is to go on. */
  judge(exit: Pick<Exit, "code">): number | undefined {
    const { on, restarts } = this.options;
    const decision = this.#restarts.decide(exit, this.clock.now());
    switch (decision.to) {
      case "end":
        this.leave(exit.code);
        return undefined;
      case "give-up":
        on({ on: "gave-up", failures: decision.failures, windowMs: restarts.windowMs });
        this.leave(1);
        return undefined;
      case "restart":
        on({ on: "restart", failures: decision.failures });
        return decision.failures;
    }
  }

  /** Joins the election, when no other of the same id stands there. Resolves to `undefined` if `signal` aborts before that. */
  async join(lead: (term: Term) => Promise<void>, signal: AbortSignal): Promise<Member | undefined> {
    const { etcd, election, id, ttlSeconds, details, logger } = this.options;
    try {
      const member = await Member.join({
        ...{ etcd, election, id, ttlSeconds, logger, lead, signal },
        ...details,
        stopTimeoutMs: this.stopTimeoutMs,
        // This process does nothing that could block it, and where it hangs the shim acts.
        worker: false,
        tally: this.#tally,
        ...(this.#namesakes === undefined ? {} : { admission: this.#namesakes }),
      });
      void this.#follow(member);
      return member;
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }

  /** At a rejoining, too: while this one was not in line another may have taken its name. */
  #namesakesOf({ id, namesakes, on }: SupervisorOptions): Namesakes | undefined {
    if (namesakes === "ignore") return undefined;
    const refused = namesakes === "refuse";
    return new Namesakes(id, ({ key, token }) => {
      on({ on: "namesake", key, token, refused });
      if (refused) this.leave(1);
    });
  }

  async #stepDown(): Promise<StepDown> {
    const [lead, member] = [this.#lead, this.#member];
    if (lead === undefined || member === undefined || this.announcements.role.remainingMs <= 0)
      return { at: "refused", reason: "does not lead" };
    const done = await stepDown(member, lead);
    const refused = done.at === "given-up" ? undefined : done.reason;
    this.options.on({ on: "step-down", token: lead.term.token, refused });
    return done;
  }

  /** Never rejects. */
  async #follow(member: Member): Promise<void> {
    const { role } = this.announcements;
    this.#member = member;
    role.follow(member);
    for await (const change of member.changes()) {
      this.options.on({ on: "member", change });
      role.tell();
    }
  }

  /** What the hook of a standby gets of the time to stop. */
  get #hookMs(): number {
    const { onStandby, onStandbyMs } = this.options.hooks;
    return onStandby === undefined ? 0 : onStandbyMs;
  }
}

/** What is proven of the member is more than what its program does. */
function resigned(report: HealthReport, reason: string): HealthReport {
  const status = { ...report.status, role: "standby" as const, token: null, termRemainingMs: 0 };
  return { ...report, role: "standby", well: false, reason, status };
}

function outOfLine(report: HealthReport): HealthReport {
  const reason = "out of the line until the program runs and is well";
  return { ...report, reason, status: { ...report.status, leaving: false } };
}

/** Resolves when it aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    onAbort(signal, resolve);
  });
}
