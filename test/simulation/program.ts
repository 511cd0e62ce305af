import { getEventListeners } from "node:events";
import type { Session } from "../../src/concurrency/session.ts";
import type { Term } from "../../src/concurrency/term.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import type { Logger } from "../../src/log.ts";
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
  /** The newest leader there had been when the process started; what it was shown first may be old by now. */
  readonly leadersBefore: number;
  leaving = false;
  left = false;

  constructor(simulation: Simulation, host: Host, index: number, id: string) {
    this.simulation = simulation;
    this.host = host;
    this.id = id;
    this.leadersBefore = Math.max(0, simulation.truth.leaders.length - 1);
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

  /** The session, where the program holds it itself. */
  get session(): Session | undefined {
    return undefined;
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
    simulation.rules.workStarted(work);
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
      simulation.rules.workSettled(work);
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
