import type { CancelTimer, Clock } from "../clock.ts";
import type { Gate, Ways } from "../devserver/gate.ts";
import { badOption } from "../errors.ts";
import { checkChoice, checkOptions } from "./arguments.ts";

/** What is sent: renewals of leases, watches with their events, or everything else. */
export type Traffic = "keepAlives" | "watches" | "requests";
/** Which way a message goes: what is asked, to the server; what is answered, to the client. */
export type Way = "toServer" | "toClient";

/** What a fault strikes. */
export interface FaultScope {
  /** A part of the traffic. @defaultValue all of it */
  readonly only?: Traffic;
  /** One direction. @defaultValue both */
  readonly way?: Way;
}

const traffics: readonly Traffic[] = ["keepAlives", "watches", "requests"];
const wayNames: readonly Way[] = ["toServer", "toClient"];
/** The longest delay that a timer of Node.js can keep. */
const longestDelayMs = 2 ** 31 - 1;

/**
 * What is wrong with the way between clients and a store. Nothing is lost in the middle of a call, as with TCP: what is
 * withheld is delivered later and in order, unless the call ends before.
 */
export class Faults implements Gate {
  readonly #clock: Clock;
  readonly #silent: Set<string> = new Set();
  readonly #delayMs: Map<string, number> = new Map();
  /** The queues that hold something. */
  readonly #held: Set<Queue> = new Set();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  silence(scope: FaultScope): void {
    for (const lane of lanes(scope)) this.#silent.add(lane);
  }

  delay(ms: number, scope: FaultScope): void {
    if (typeof ms !== "number" || !(ms >= 0 && ms <= longestDelayMs)) {
      throw badOption("delay", `a number of milliseconds from 0 to ${longestDelayMs}`, ms);
    }
    for (const lane of lanes(scope)) this.#delayMs.set(lane, ms);
  }

  /** Takes everything back, and delivers at once what is withheld or on its way. */
  heal(): void {
    this.#silent.clear();
    this.#delayMs.clear();
    for (const queue of [...this.#held]) queue.flush();
  }

  /** Drops what is withheld or on its way: the connections are gone. */
  drop(): void {
    for (const queue of [...this.#held]) queue.drop();
  }

  open(method: string): Ways {
    const traffic = trafficOf(method);
    const queue = (way: Way): Queue => {
      const lane = `${traffic} ${way}`;
      return new Queue(this.#clock, this.#held, {
        silent: () => this.#silent.has(lane),
        delayMs: () => this.#delayMs.get(lane) ?? 0,
      });
    };
    const [toServer, toClient] = [queue("toServer"), queue("toClient")];
    return { toServer: (task) => toServer.pass(task), toClient: (task) => toClient.pass(task) };
  }
}

/** One way of a call: what comes later waits for what came before. */
class Queue {
  readonly #clock: Clock;
  readonly #held: Set<Queue>;
  readonly #fault: { silent(): boolean; delayMs(): number };
  #items: { readonly due: number; readonly task: () => void }[] = [];
  #cancelTimer: CancelTimer = () => {};
  #passing = false;

  constructor(clock: Clock, held: Set<Queue>, fault: { silent(): boolean; delayMs(): number }) {
    this.#clock = clock;
    this.#held = held;
    this.#fault = fault;
  }

  pass(task: () => void): void {
    // A delay that has become shorter lets nothing overtake.
    const due = Math.max(this.#clock.now() + this.#fault.delayMs(), this.#items.at(-1)?.due ?? 0);
    this.#items.push({ due, task });
    this.#passDue();
  }

  flush(): void {
    this.#items = this.#items.map(({ task }) => ({ due: 0, task }));
    this.#passDue();
  }

  drop(): void {
    this.#cancelTimer();
    this.#items = [];
    this.#held.delete(this);
  }

  #passDue(): void {
    // A task may lead to further ones, which then wait for their turn.
    if (this.#passing) return;
    this.#passing = true;
    this.#cancelTimer();
    try {
      for (let head = this.#items[0]; head !== undefined; head = this.#items[0]) {
        if (this.#fault.silent() || head.due > this.#clock.now()) break;
        this.#items.shift();
        head.task();
      }
    } finally {
      this.#passing = false;
    }
    const [first] = this.#items;
    if (first === undefined) {
      this.#held.delete(this);
      return;
    }
    this.#held.add(this);
    if (!this.#fault.silent()) this.#cancelTimer = this.#clock.at(first.due, () => this.#passDue());
  }
}

function trafficOf(method: string): Traffic {
  if (method === "LeaseKeepAlive") return "keepAlives";
  return method === "Watch" ? "watches" : "requests";
}

function lanes(scope: FaultScope): string[] {
  checkOptions(scope, ["only", "way"]);
  const { only, way } = scope;
  if (only !== undefined) checkChoice("only", only, traffics);
  if (way !== undefined) checkChoice("way", way, wayNames);
  return traffics
    .filter((traffic) => only === undefined || traffic === only)
    .flatMap((traffic) =>
      wayNames.filter((name) => way === undefined || name === way).map((name) => `${traffic} ${name}`),
    );
}
