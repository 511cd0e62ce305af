import type { StoreSnapshot } from "../../src/devserver/store.ts";
import { toBytes } from "../../src/etcd/bytes.ts";
import { pauseKey } from "../../src/steering/names.ts";
import { Agenda } from "./agenda.ts";
import { CampaignProgram } from "./campaign-program.ts";
import { Cluster } from "./cluster.ts";
import type { Excuse } from "./excuses.ts";
import { troubles } from "./faults.ts";
import { Host } from "./host.ts";
import { Link, type Monitor } from "./link.ts";
import { MemberProgram } from "./member-program.ts";
import { MutexProgram } from "./mutex-program.ts";
import { ObserverProgram } from "./observer-program.ts";
import type { Program } from "./program.ts";
import { Random, seedOf } from "./random.ts";
import { Rules } from "./rules.ts";
import { Settling } from "./settling.ts";
import { type Fault, type FaultKind, isCountedLater, type Scenario } from "./story.ts";
import { glance, nextTurn, within } from "./time-source.ts";
import { TrafficRules } from "./traffic-rules.ts";
import { type TrueKey, Truth } from "./truth.ts";

/** A broken invariant. */
export interface Violation {
  readonly rule: string;
  readonly at: number;
  readonly text: string;
}

export interface Outcome {
  readonly seed: number;
  readonly violation: Violation | undefined;
  readonly terms: number;
  readonly failovers: number;
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  readonly events: number;
  /** Overlaps of roles where etcd itself had removed the older leader's key, by what had removed it. */
  readonly excused: Readonly<Record<Excuse, number>>;
  readonly excusedMs: number;
  /** How long after the last fault everybody stood in line and one led. */
  readonly settledAfterMs: number;
  readonly notes: readonly string[];
}

const programKinds = {
  member: MemberProgram,
  campaigner: CampaignProgram,
  mutex: MutexProgram,
  observer: ObserverProgram,
};

interface Slot {
  readonly kind: Scenario["processes"][number];
  program: Program;
  incarnation: number;
}

/** One run: processes, their network, etcd, what happens to them, and what must hold all the while. */
export class Simulation {
  readonly scenario: Scenario;
  readonly agenda: Agenda = new Agenda();
  readonly truth: Truth;
  readonly cluster: Cluster;
  readonly slots: (Slot | undefined)[] = [];
  readonly recording: boolean;
  readonly notes: string[] = [];
  readonly backups: Map<Fault, StoreSnapshot> = new Map();
  readonly monitor: Monitor;
  readonly #random: Random;
  readonly #links = new Map<string, Link>();
  /** Everybody who ran, until he is gone. */
  readonly programs: Set<Program> = new Set();
  readonly #byHost = new Map<Host, Program>();
  readonly rules: Rules;
  readonly #settling: Settling;
  readonly #faults: Partial<Record<FaultKind, number>> = {};
  #troubles = 0;
  #workEnds = 0;
  #events = 0;
  #violation: Violation | undefined;

  constructor(scenario: Scenario, recording: boolean = false) {
    const { seed } = scenario;
    this.scenario = scenario;
    this.recording = recording;
    this.#random = new Random(seedOf(seed, 2));
    this.truth = new Truth(scenario.election, () => this.agenda.now);
    this.rules = new Rules(this);
    this.#settling = new Settling(this);
    this.truth.onRemoved = (removal) => this.rules.removed(removal);
    this.truth.onPut = (key, created) => this.rules.put(key, created);
    this.cluster = new Cluster({
      agenda: this.agenda,
      random: new Random(seedOf(seed, 3)),
      truth: this.truth,
      endpoints: scenario.endpoints,
      auth: scenario.auth,
      mostTtlSeconds: scenario.mostTtlSeconds,
    });
    for (const member of this.cluster.members) {
      member.onReset = () => {
        for (const [name, link] of this.#links) if (name.endsWith(` ${member.name}`)) link.reset();
      };
    }
    this.monitor = new TrafficRules(this, this.rules);
  }

  get now(): number {
    return this.agenda.now;
  }

  get ttlMs(): number {
    return this.scenario.ttlSeconds * 1_000;
  }

  note(text: string): void {
    if (this.recording) this.notes.push(`${(this.now / 1_000).toFixed(3).padStart(8)}  ${text}`);
  }

  /** Counts something that has happened. */
  occurred(kind: FaultKind): void {
    this.#faults[kind] = (this.#faults[kind] ?? 0) + 1;
  }

  /** Whether a fault is going on. */
  get troubled(): boolean {
    return this.#troubles > 0;
  }

  violation(rule: string, text: string): void {
    if (this.#violation !== undefined) return;
    this.note(`VIOLATION ${rule}: ${text}`);
    this.#violation = { rule, at: this.now, text };
  }

  link(slot: number, endpoint: string): Link {
    const name = `${slot} ${endpoint}`;
    let link = this.#links.get(name);
    if (link === undefined) {
      const member = this.cluster.members.find((each) => each.name === endpoint);
      if (member === undefined) throw new RangeError(`there is no ${endpoint}`);
      link = new Link(member, this.agenda, new Random(seedOf(this.scenario.seed, 4, this.#links.size)));
      this.#links.set(name, link);
    }
    return link;
  }

  /** The process whose key is the first of the line. */
  leaderSlot(): number | undefined {
    const owner = this.ownerOf(this.truth.line[0]);
    const at = owner === undefined ? -1 : this.slots.findIndex((slot) => slot?.program === owner);
    return at < 0 ? undefined : at;
  }

  /** Starts the process of a slot, the first one or another. */
  start(at: number): void {
    const { seed, drift } = this.scenario;
    const kind = this.scenario.processes[at] ?? "member";
    const incarnation = (this.slots[at]?.incarnation ?? 0) + 1;
    const random = new Random(seedOf(seed, 5, at));
    const rate = 1 + drift * (random.chance(0.7) ? random.pick([-1, 1]) : random.between(-1, 1));
    const id = `${"abcdefgh"[at]}${incarnation}`;
    const host = new Host(id, this.agenda, rate, seedOf(seed, 6, at, incarnation));
    const program = glance(host, () => new programKinds[kind](this, host, at, id));
    if (incarnation > 1) this.occurred("restart");
    this.slots[at] = { kind, program, incarnation };
    this.programs.add(program);
    this.#byHost.set(host, program);
    this.note(`${id} starts`);
    host.deliver("orders", () => program.start());
  }

  /** The process of a slot vanishes. */
  crash(at: number): boolean {
    const { program } = this.slots[at] ?? {};
    if (program === undefined || !program.host.alive || program.leaving) return false;
    this.note(`${program.id} crashes`);
    program.kill();
    this.#gone(program);
    return true;
  }

  #gone(program: Program): void {
    this.programs.delete(program);
    this.#byHost.delete(program.host);
    this.rules.gone(program);
  }

  /** The members of etcd choose a raft leader, which takes so long. */
  electFor(ms: number): void {
    this.agenda.at(this.now + ms, this.cluster.elect());
  }

  /** How long a work that ends by itself may take: none does when all shall be well. */
  workMayEndWithin(): number {
    return !this.scenario.calm && this.#workEnds++ < 12
      ? Math.max(0, this.scenario.quietAt - 1_000 - this.now)
      : 0;
  }

  /** Who put a key, by its lease. */
  ownerOf(key: TrueKey | undefined): Program | undefined {
    const owner = key === undefined ? undefined : this.cluster.leases.get(key.lease)?.owner;
    return typeof owner === "object" ? this.#byHost.get(owner) : undefined;
  }

  /** Keys that no process of ours put. */
  removeStrangers(): void {
    if (this.cluster.paused) {
      this.cluster.hold(() => this.removeStrangers());
      return;
    }
    this.truth.as("operator", () => {
      for (const { key, lease } of this.truth.line) {
        if (lease === 0n) this.cluster.store.deleteRange({ key: toBytes(key) });
      }
    });
  }

  /** Whatever holds the leader still, a restore or an operator, does so no more. */
  endPause(): void {
    const key = toBytes(pauseKey(this.scenario.election));
    if (this.cluster.paused) this.cluster.hold(() => this.endPause());
    else this.truth.as("operator", () => this.cluster.store.deleteRange({ key }));
  }

  /** Runs the story, one event a turn of the event loop, and judges after each. */
  async run(): Promise<Outcome> {
    const { scenario, agenda } = this;
    const onRejection = (reason: unknown): void => {
      const text = reason instanceof Error ? (reason.stack ?? reason.message) : JSON.stringify(reason);
      this.violation("unhandled-rejection", text);
    };
    const onWarning = (warning: Error): void => this.violation("warning", String(warning));
    process.on("unhandledRejection", onRejection);
    process.on("warning", onWarning);
    scenario.processes.forEach((_, at) => {
      agenda.at(this.#random.between(0, 600), () => this.start(at));
    });
    for (const fault of scenario.faults) this.#schedule(fault);
    const poll = (): void => {
      this.#settling.poll();
      agenda.at(this.now + 250, poll);
    };
    agenda.at(scenario.quietAt, () => {
      // A restore may have brought them back.
      this.removeStrangers();
      this.endPause();
      poll();
    });
    const end = this.#settling.limit + 3 * this.ttlMs + 2_000;
    await new Promise<void>((resolve) => this.#pump(end, resolve));
    if (this.#violation === undefined) this.#judgeEnd();
    for (const { host } of this.programs) host.kill();
    within(undefined, () => {});
    process.off("unhandledRejection", onRejection);
    process.off("warning", onWarning);
    return {
      seed: scenario.seed,
      violation: this.#violation,
      terms: this.rules.works.terms,
      failovers: this.rules.works.failovers,
      faults: this.#faults,
      events: this.#events,
      excused: this.rules.excused,
      excusedMs: this.rules.excusedMs,
      settledAfterMs: (this.#settling.since ?? Number.POSITIVE_INFINITY) - scenario.quietAt,
      notes: this.notes,
    };
  }

  /** Node drains the microtasks between two immediates, so that each event has its consequences before the next. */
  #pump(end: number, done: () => void): void {
    const batch = 32;
    let over = false;
    const step = (): void => {
      if (over) return;
      within(undefined, () => this.rules.check());
      const enough = this.#settling.isOver;
      const next = this.#violation === undefined && !enough ? this.agenda.next(end) : undefined;
      if (next === undefined) {
        over = true;
        done();
        return;
      }
      this.#events++;
      next();
    };
    const more = (): void => {
      if (over) return;
      for (let i = 0; i < batch; i++) nextTurn(step);
      nextTurn(more);
    };
    more();
  }

  #schedule(fault: Fault): void {
    const { agenda } = this;
    if (fault.kind === "restore" || fault.kind === "other-cluster") {
      // A backup of some time before; sometimes of the very first moment.
      const age = fault.x < 0.2 ? fault.at : 300 + fault.x * 12_000;
      agenda.at(Math.max(0, fault.at - age), () => this.backups.set(fault, this.cluster.store.snapshot()));
    }
    agenda.at(fault.at, () => {
      const end = troubles[fault.kind](this, fault);
      this.note(
        `FAULT ${fault.kind}${fault.forMs > 0 ? ` for ${fault.forMs} ms` : ""}${end === undefined ? " (nothing to hit)" : ""}`,
      );
      if (end === undefined) return;
      if (!isCountedLater(fault.kind)) this.occurred(fault.kind);
      this.#troubles++;
      agenda.at(fault.at + fault.forMs, () => {
        this.#troubles--;
        if (fault.forMs > 0) this.note(`end of ${fault.kind}`);
        end();
      });
    });
  }

  programOf(host: Host): Program | undefined {
    return this.#byHost.get(host);
  }

  #judgeEnd(): void {
    for (const program of this.programs) {
      const { host, id } = program;
      if (!host.alive) continue;
      const timers = host.clock.pending;
      if (timers > 25) this.violation("timers", `${id} has ${timers} timers at the end`);
      if (program.underWay > 8) this.violation("streams", `${id} has ${program.underWay} streams at the end`);
      if (program.listeners > 8)
        this.violation("listeners", `${id} has ${program.listeners} listeners at the end`);
      // Work that hangs or ignores its signal is left behind, and all that is of the user's.
      const works = [...this.rules.works.underWay].some((work) => work.program === program);
      if (program.left && !works && (timers > 0 || program.underWay > 0)) {
        this.violation(
          "left-behind",
          `${id} has left, with ${timers} timers and ${program.underWay} streams`,
        );
      }
    }
  }
}
