import { getEventListeners } from "node:events";
import type { Session } from "../../src/concurrency/session.ts";
import type { Term } from "../../src/concurrency/term.ts";
import type { Cause } from "../../src/errors.ts";
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
  /** What is wrong with it, beside that. */
  mood: Mood | undefined;
  abortedAt: number | undefined;
}

/** What a user's callback does beside what it should: it hears its signal and hangs, or ignores it. */
export interface Mood {
  readonly at: "hangs" | "ignores";
  readonly forMs: number;
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
  /** The place of its process. */
  readonly index: number;
  readonly id: string;
  readonly etcd: Etcd;
  readonly transports: SimTransport[] = [];
  /** When the log told that the line is read anew. */
  rereadAt: number = Number.NEGATIVE_INFINITY;
  /** The newest leader there had been when the process started; what it was shown first may be old by now. */
  readonly leadersBefore: number;
  leaving = false;
  left = false;
  /** The callbacks under way: the work, and how to make it throw. */
  #work: Work | undefined;
  #throw: ((error: Error) => void) | undefined;

  constructor(simulation: Simulation, host: Host, index: number, id: string) {
    this.simulation = simulation;
    this.host = host;
    this.index = index;
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

  /** Makes the callback under way throw now; false if there is none. */
  disturb(): boolean {
    if (this.#throw === undefined) return false;
    this.host.deliver("orders", () => this.#throw?.(new Error("simulated failure of a callback")));
    return true;
  }

  /** Sees to it that the work under way will not stop in its time; false if there is none that could. */
  spoil(mood: Mood): boolean {
    const work = this.#work;
    if (work === undefined || this.deletesAtOnce || work.abortedAt !== undefined) return false;
    work.mood = mood;
    return true;
  }

  /** Warms up. */
  protected async prepare(term: Term, forMs: number): Promise<void> {
    const { thrown, forget } = this.#disturbance();
    try {
      await Promise.race([sleep(this.host.clock, forMs, term.signal), thrown]);
    } finally {
      forget();
    }
  }

  /** The user's work: what it does is drawn by chance. */
  protected async work(term: Term): Promise<void> {
    const { simulation, host } = this;
    const { random, clock } = host;
    const stopTimeoutMs = simulation.scenario.ttlSeconds * 100;
    // Go's way knows no time to stop in.
    const instant = this.deletesAtOnce || random.chance(0.5);
    const work: Work = {
      ...{ program: this, host, token: term.token, key: term.key, startedAt: simulation.now },
      needMs: instant ? 0 : random.between(0, 0.8 * stopTimeoutMs),
      mood: undefined,
      abortedAt: undefined,
    };
    simulation.rules.works.started(work);
    this.#work = work;
    onAbort(term.signal, () => {
      work.abortedAt = simulation.now;
      simulation.rules.works.told(work);
    });
    try {
      await this.#do(term);
    } finally {
      const { mood } = work;
      if (mood !== undefined && term.signal.aborted) {
        simulation.occurred(mood.at === "hangs" ? "work-hangs" : "work-ignores");
        await sleep(clock, mood.forMs);
      } else if (term.signal.aborted && work.needMs > 0) await sleep(clock, work.needMs);
      if (this.#work === work) this.#work = undefined;
      simulation.rules.works.settled(work);
    }
  }

  /** Until the term ends, or by itself before that, well or badly. */
  async #do(term: Term): Promise<void> {
    const { random, clock } = this.host;
    const { thrown, forget } = this.#disturbance();
    try {
      const longestMs = this.simulation.workMayEndWithin();
      const ends = longestMs > 0 && random.chance(0.5);
      const ms = ends ? random.between(0, Math.min(4_000, longestMs)) : Number.POSITIVE_INFINITY;
      await Promise.race([sleep(clock, ms, term.signal), thrown]);
      if (random.chance(0.5)) throw new Error("simulated failure of the work");
    } finally {
      forget();
    }
  }

  #disturbance(): { readonly thrown: Promise<never>; readonly forget: () => void } {
    let fail = (_error: Error): void => {};
    const thrown = new Promise<never>((_, reject) => {
      fail = reject;
    });
    this.#throw = fail;
    return {
      thrown,
      forget: () => {
        if (this.#throw === fail) this.#throw = undefined;
      },
    };
  }

  #logger(): Logger {
    const note = (level: string, fields: object, message: string): void => {
      const { mismatches = 0, key, cause, token } = fields as Told;
      if (message.startsWith("deleting a key that a late request") && key !== undefined) {
        this.simulation.rules.claims.addStray(key, token ?? 0n);
      }
      if (/^(candidacy|term) ended$/.test(message) && key !== undefined && cause !== undefined) {
        this.simulation.rules.waiting.ended(this, key, cause);
      }
      if (/anew|went back/.test(message) || mismatches > 2) this.rereadAt = this.simulation.now;
      if (this.simulation.recording) this.simulation.note(`${this.id} ${level}: ${message} ${shown(fields)}`);
    };
    const quiet = (): void => {};
    return {
      debug: this.simulation.recording ? (fields, message) => note("debug", fields, message) : quiet,
      info: (fields, message) => note("info", fields, message),
      warn: (fields, message) => note("warn", fields, message),
      error: (fields, message) => note("error", fields, message),
    };
  }
}

/** What the rules read in the log. */
interface Told {
  readonly mismatches?: number;
  readonly key?: string;
  readonly cause?: Cause;
  readonly token?: bigint;
}

function shown(fields: object): string {
  return JSON.stringify(fields, (_name, value: unknown) => {
    if (typeof value === "bigint") return Number(value);
    if (value instanceof Error) return value.message;
    return value;
  });
}
