import { getEventListeners } from "node:events";
import { Election } from "../../src/concurrency/election.ts";
import { Observer } from "../../src/concurrency/observer.ts";
import { Session } from "../../src/concurrency/session.ts";
import type { Term } from "../../src/concurrency/term.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import type { Logger } from "../../src/log.ts";
import { Member, type MemberChange } from "../../src/member/member.ts";
import { onAbort, sleep } from "../../src/waiting.ts";
import type { Host } from "./host.ts";
import { SimTransport } from "./network.ts";
import type { Simulation } from "./simulation.ts";

/** The user's work of one term, from its first instruction to its last. */
export interface Work {
  readonly program: Program;
  readonly host: Host;
  readonly token: bigint;
  readonly key: string;
  readonly startedAt: number;
  /** Milliseconds that it needs to stop. */
  readonly needMs: number;
  /** Ignores its signal for a long time. */
  readonly stubborn: boolean;
  abortedAt: number | undefined;
}

/** What a program that leads says of it. */
export interface Claim {
  readonly token: bigint;
  readonly key: string;
  readonly remainingMs: number;
}

/** What runs in a process. */
export abstract class Program {
  readonly simulation: Simulation;
  readonly host: Host;
  readonly id: string;
  readonly etcd: Etcd;
  readonly transports: SimTransport[] = [];
  /** When the log told that the line is read anew. */
  rereadAt: number = Number.NEGATIVE_INFINITY;
  leaving = false;
  left = false;

  constructor(simulation: Simulation, host: Host, index: number, id: string) {
    this.simulation = simulation;
    this.host = host;
    this.id = id;
    const { scenario } = simulation;
    const attemptTimeoutMs = Math.min(2_000, Math.max(500, (scenario.ttlSeconds * 1_000) / 6));
    this.etcd = new Etcd({
      endpoints: simulation.cluster.members.map((member) => member.name),
      clock: host.clock,
      logger: this.#logger(),
      attemptTimeoutMs,
      connect: (endpoint) => {
        const link = simulation.link(index, endpoint.name);
        const transport = new SimTransport(link, host, simulation.monitor, 2 * attemptTimeoutMs);
        this.transports.push(transport);
        return transport;
      },
      ...(scenario.auth ? { user: "u", password: "p" } : {}),
    });
  }

  /** The term, while the program says that it leads. */
  abstract leads(): Claim | undefined;
  abstract start(): void;
  abstract leave(): void;
  /** How it stands, for people. */
  abstract describe(): string;

  /** Whether it wants to stand in line now. */
  get standing(): boolean {
    return !this.leaving;
  }

  /** Whether it lets others have their turn, because its own work ended: up to half a minute. */
  get resting(): boolean {
    return false;
  }

  /** Whether the key goes with the claim, whatever the work does. */
  get deletesAtOnce(): boolean {
    return false;
  }

  /** Streams and requests that this process has under way. */
  get underWay(): number {
    return this.transports.reduce((sum, transport) => sum + transport.pending, 0);
  }

  /** Listeners that long-lived signals have collected. */
  get listeners(): number {
    return getEventListeners(this.etcd.closedSignal, "abort").length;
  }

  /** The process vanishes. */
  kill(): void {
    this.host.kill();
    for (const transport of this.transports) transport.close();
  }

  /** The user's work: what it does is drawn by chance. */
  protected async work(term: Term): Promise<void> {
    const { simulation, host } = this;
    const { random, clock } = host;
    const stubborn = simulation.scenario.stubborn && !this.deletesAtOnce && random.chance(0.1);
    const stopTimeoutMs = simulation.scenario.ttlSeconds * 100;
    // Go's way knows no time to stop in.
    const instant = this.deletesAtOnce || random.chance(0.5);
    const needMs = instant ? 0 : random.between(0, 0.8 * stopTimeoutMs);
    const work: Work = {
      ...{
        program: this,
        host,
        token: term.token,
        key: term.key,
        startedAt: simulation.now,
        needMs,
        stubborn,
      },
      abortedAt: undefined,
    };
    simulation.workStarted(work);
    try {
      const longestMs = simulation.workMayEndWithin();
      if (longestMs > 0 && random.chance(0.5)) {
        await sleep(clock, random.between(0, Math.min(4_000, longestMs)), term.signal);
        if (random.chance(0.5)) throw new Error("simulated failure of the work");
        return;
      }
      await new Promise<void>((resolve) => {
        onAbort(term.signal, resolve);
      });
    } finally {
      if (term.signal.aborted) {
        work.abortedAt = simulation.now;
        const ms = stubborn ? random.between(500, 8_000) : needMs;
        if (ms > 0) await sleep(clock, ms);
      }
      simulation.workSettled(work);
    }
  }

  #logger(): Logger {
    const note = (level: string, fields: object, message: string): void => {
      const { mismatches = 0 } = fields as { mismatches?: number };
      if (/anew|went back/.test(message) || mismatches > 2) this.rereadAt = this.simulation.now;
      if (this.simulation.recording) this.simulation.note(`${this.id} ${level}: ${message} ${shown(fields)}`);
    };
    const quiet = (): void => {};
    return {
      debug: this.simulation.recording ? (fields, message) => note("debug", fields, message) : quiet,
      info: this.simulation.recording ? (fields, message) => note("info", fields, message) : quiet,
      warn: (fields, message) => note("warn", fields, message),
      error: (fields, message) => note("error", fields, message),
    };
  }
}

function shown(fields: object): string {
  return JSON.stringify(fields, (_name, value: unknown) => {
    if (typeof value === "bigint") return Number(value);
    if (value instanceof Error) return value.message;
    return value;
  });
}

/** A process that is a `Member`, as almost everybody's. */
export class MemberProgram extends Program {
  member: Member | undefined;
  /** The last state that `changes` told. */
  last: MemberChange | undefined;

  start(): void {
    const { scenario } = this.simulation;
    const { random, clock } = this.host;
    const prepares = scenario.prepares;
    const join = Member.join({
      etcd: this.etcd,
      election: scenario.election,
      id: this.id,
      ttlSeconds: scenario.ttlSeconds,
      zone: "z",
      ...(prepares ? { prepare: (term: Term) => sleep(clock, random.between(0, 800), term.signal) } : {}),
      lead: (term) => this.work(term),
    });
    join.then(
      (member) => {
        this.member = member;
        if (this.leaving) this.#leave(member);
        void this.#readChanges(member);
        if (scenario.observed) void observe(this);
      },
      (error: unknown) => {
        if (!this.leaving) this.simulation.violation("join-rejected", `${this.id}: ${String(error)}`);
      },
    );
  }

  leads(): Claim | undefined {
    const { member } = this;
    if (member === undefined || member.role !== "leader") return undefined;
    return member.term;
  }

  leave(): void {
    this.leaving = true;
    if (this.member !== undefined) this.#leave(this.member);
  }

  override get resting(): boolean {
    const { member, last } = this;
    return member?.phase === "outside" && (last?.cause === "finished" || last?.cause === "failed");
  }

  describe(): string {
    return `${this.member?.phase ?? "joining"}/${this.member?.role ?? "-"}`;
  }

  #leave(member: Member): void {
    void member
      .leave()
      .then(() => this.etcd.close())
      .then(() => {
        this.left = true;
      });
  }

  async #readChanges(member: Member): Promise<void> {
    for await (const change of member.changes()) {
      this.last = change;
      if ((change.role === "leader") !== (change.term !== undefined)) {
        this.simulation.violation(
          "changes-role",
          `${this.id} tells role ${change.role} and term ${change.term?.token}`,
        );
      }
      if (this.simulation.recording)
        this.simulation.note(`${this.id} is ${change.role}, ${change.phase} ${change.cause ?? ""}`);
    }
  }
}

/** A process in the manner of Go's programs: campaigns, resigns and campaigns again on one session. */
export class CampaignProgram extends Program {
  #term: Term | undefined;
  readonly #leaving = new AbortController();

  start(): void {
    void this.#run().finally(async () => {
      await this.etcd.close();
      this.left = true;
    });
  }

  leads(): Claim | undefined {
    const term = this.#term;
    return term !== undefined && term.remainingMs > 0 ? term : undefined;
  }

  leave(): void {
    this.leaving = true;
    this.#leaving.abort(new Error("leaving"));
  }

  override get deletesAtOnce(): boolean {
    return true;
  }

  describe(): string {
    return this.#term === undefined
      ? "campaigning"
      : `term ${this.#term.token}, ${this.#term.remainingMs} ms left`;
  }

  async #run(): Promise<void> {
    const { scenario } = this.simulation;
    const { clock, random } = this.host;
    const left = this.#leaving.signal;
    while (!left.aborted) {
      try {
        const session = await Session.open(this.etcd, { ttlSeconds: scenario.ttlSeconds, signal: left });
        const forget = onAbort(left, () => void session.close());
        const election = new Election(session, scenario.election);
        try {
          while (!session.signal.aborted) await this.#campaign(session, election);
        } finally {
          forget();
          await session.close();
        }
      } catch {
        // The simulation judges what happens, not what is said of it.
      }
      await sleep(clock, random.between(20, 500), left).catch(() => {});
    }
  }

  async #campaign(session: Session, election: Election): Promise<void> {
    const { clock, random } = this.host;
    const impatient = new AbortController();
    const forget = onAbort(session.signal, () => impatient.abort(session.signal.reason));
    // Some give up waiting and stand again.
    const longestMs = this.simulation.workMayEndWithin();
    const patience =
      longestMs > 0 && random.chance(0.5)
        ? random.between(0, Math.min(15_000, longestMs))
        : Number.POSITIVE_INFINITY;
    const cancel = clock.at(clock.now() + patience, () => impatient.abort(new Error("waited long enough")));
    try {
      const term = await election.campaign(this.id, { signal: impatient.signal });
      cancel();
      this.#term = term;
      await this.work(term).catch(() => {});
      await election.resign();
    } catch {
      await sleep(clock, random.between(10, 300), session.signal).catch(() => {});
    } finally {
      cancel();
      forget();
      this.#term = undefined;
    }
  }
}

/** A process that only looks on. */
export class ObserverProgram extends Program {
  readonly #leaving = new AbortController();

  start(): void {
    void observe(this, this.#leaving.signal);
  }

  leads(): undefined {
    return undefined;
  }

  override get standing(): boolean {
    return false;
  }

  leave(): void {
    this.leaving = true;
    this.#leaving.abort(new Error("leaving"));
    void this.etcd.close().then(() => {
      this.left = true;
    });
  }

  describe(): string {
    return "observing";
  }
}

/** An observer that hears nothing asks every ten seconds. */
const restoreNoticedMs = 30_000;

/** Follows the leaders, and compares them with those that there truly were. */
async function observe(program: Program, signal?: AbortSignal): Promise<void> {
  const { simulation, etcd } = program;
  const { truth } = simulation;
  const observer = new Observer(etcd, simulation.scenario.election);
  let at = Math.max(0, truth.leaders.length - 1);
  let first = true;
  let shownAt = Number.NEGATIVE_INFINITY;
  try {
    for await (const leader of observer.observe(signal === undefined ? {} : { signal })) {
      if (leader === undefined) continue;
      if (simulation.recording) simulation.note(`${program.id} observes ${leader.id} (${leader.token})`);
      if (truth.restoredAt > shownAt) {
        // What it knows is of another store, until it has read anew.
        first = true;
        if (truth.restoredAt >= program.rereadAt && simulation.now < truth.restoredAt + restoreNoticedMs)
          continue;
        at = Math.max(
          0,
          truth.leaders.findIndex((each) => each.history === truth.history),
        );
      }
      const found = truth.leaders.findIndex(
        (each, index) => index >= at && each.token === leader.token && each.key === leader.key,
      );
      if (found < 0) {
        simulation.violation(
          "observed-no-leader",
          `${program.id} observes ${leader.key}@${leader.token}, which did not lead then`,
        );
        return;
      }
      const skipped = found - at > 1 && !first;
      if (skipped && program.rereadAt < shownAt) {
        simulation.violation("observer-skipped", `${program.id} skips from leader ${at} to ${found}`);
      }
      at = found;
      first = false;
      shownAt = simulation.now;
    }
  } catch {
    // The client was closed.
  }
}
