import { type CancelTimer, SystemClock } from "../../src/clock.ts";
import type { Agenda } from "./agenda.ts";
import { Random } from "./random.ts";
import { glance, type Readings, within } from "./time-source.ts";

/** How a process is: a stopped one executes nothing; a suspended machine's monotonic clock stands still as well. */
export type HostState = "running" | "stopped" | "suspended" | "dead";

/** The longest sleep of the product's timers, after which they look at the clock again. */
export const napMs = 1_000;

interface Timer {
  readonly instant: number;
  readonly task: () => void;
  readonly setAtMonotonic: number;
  cancel: () => void;
}

/** One process: its clocks, its timers, and what waits for it while it does not run. */
export class Host implements Readings {
  readonly name: string;
  readonly clock: HostClock;
  readonly agenda: Agenda;
  /** How much faster than etcd's this machine's clocks run now. */
  rate: number;
  readonly random: Random;
  readonly startedAt: number;
  state: HostState = "running";
  /** How much it has sent. */
  sendings = 0;
  /** When the last stop ended, and what kind it was. */
  resumedAt: number = Number.NEGATIVE_INFINITY;
  stoppedAt: number = Number.NEGATIVE_INFINITY;
  wokenAt: number = Number.NEGATIVE_INFINITY;
  /** What the clocks showed at `#since`, when their rate or the machine's state last changed. */
  #monotonic: number;
  #boot: number;
  #since: number;
  #suspendedAt = 0;
  #stops = 0;
  #suspensions = 0;
  #backlog = new Map<unknown, (() => void)[]>();
  /** How many tasks of a resumption are still to run. */
  #catchingUp = 0;

  constructor(name: string, agenda: Agenda, rate: number, seed: number) {
    this.name = name;
    this.agenda = agenda;
    this.rate = rate;
    this.random = new Random(seed);
    const upMs = this.random.between(0, 1_000_000);
    this.startedAt = agenda.now;
    this.#since = agenda.now;
    this.#monotonic = upMs + agenda.now * rate;
    this.#boot = 2 * upMs + agenda.now * rate;
    this.clock = glance(this, () => new HostClock(this));
  }

  monotonicMs(): number {
    const at = this.state === "suspended" ? this.#suspendedAt : this.agenda.now;
    return this.#monotonic + (at - this.#since) * this.rate;
  }

  /** In steps of 10 ms, as Linux shows it. */
  bootMs(): number {
    return Math.floor(this.#exactBootMs() / 10) * 10;
  }

  #exactBootMs(): number {
    return this.#boot + (this.agenda.now - this.#since) * this.rate;
  }

  /** The oscillator warms up or cools down: both clocks go on at another rate. */
  drift(rate: number): void {
    if (this.state === "dead") return;
    this.#settle();
    this.rate = rate;
    this.clock.retime();
  }

  #settle(): void {
    const { now } = this.agenda;
    this.#monotonic = this.monotonicMs();
    this.#boot = this.#exactBootMs();
    this.#since = now;
    this.#suspendedAt = now;
  }

  soon(task: () => void): void {
    this.agenda.at(this.agenda.now, () => this.deliver("turns", task));
  }

  get alive(): boolean {
    return this.state !== "dead";
  }

  /** Whether everything that a stop held up has happened. */
  get caughtUp(): boolean {
    return this.state === "running" && this.#catchingUp === 0;
  }

  /** Runs something in this process now. */
  run(task: () => void): void {
    if (this.state === "dead") return;
    within(this, task);
  }

  /** Something reaches this process: now, or when it runs again. What comes from one source keeps its order. */
  deliver(source: unknown, task: () => void): void {
    if (this.state === "dead") return;
    if (this.state === "running" && this.#catchingUp === 0) {
      this.run(task);
      return;
    }
    const waiting = this.#backlog.get(source);
    if (waiting === undefined) this.#backlog.set(source, [task]);
    else waiting.push(task);
  }

  /** Stops the process, or its whole machine; each stop wants its `resume`. */
  stop(machine: boolean): void {
    if (this.state === "dead") return;
    this.#stops++;
    if (this.state === "running") this.stoppedAt = this.agenda.now;
    if (machine && this.#suspensions++ === 0) this.#suspendedAt = this.agenda.now;
    this.state = this.#suspensions > 0 ? "suspended" : "stopped";
  }

  resume(machine: boolean): void {
    if (this.state === "dead") return;
    this.#stops--;
    if (machine && --this.#suspensions === 0) {
      this.#settle();
      this.wokenAt = this.agenda.now;
      this.state = "stopped";
      this.clock.woken();
    }
    if (this.#stops > 0) return;
    this.state = "running";
    this.resumedAt = this.agenda.now;
    this.clock.forget();
    if (this.#catchingUp === 0) this.#catchUp();
  }

  /** Vanishes without a word. */
  kill(): void {
    this.state = "dead";
    this.#backlog.clear();
    this.clock.drop();
  }

  /** One task at a time, each with all that it sets off, and the sources in any order. */
  #catchUp(): void {
    this.#catchingUp = 1;
    const timersFirst = this.random.chance(0.4);
    const next = (): void => {
      if (this.state !== "running") {
        this.#catchingUp = 0;
        return;
      }
      const sources = [...this.#backlog.keys()];
      if (sources.length === 0) {
        this.#catchingUp = 0;
        return;
      }
      const source = timersFirst && this.#backlog.has(timers) ? timers : this.random.pick(sources);
      const waiting = this.#backlog.get(source) ?? [];
      const task = waiting.shift();
      if (waiting.length === 0) this.#backlog.delete(source);
      if (task !== undefined) this.run(task);
      this.agenda.at(this.agenda.now, next);
    };
    this.agenda.at(this.agenda.now, next);
  }
}

/** What timers are called as a source. */
const timers = "timers";

/** The product's own clock on a simulated machine; only the timers and chance are the simulator's. */
export class HostClock extends SystemClock {
  readonly #host: Host;
  readonly #timers = new Set<Timer>();
  #cachedFor = -1;
  #cached = 0;

  constructor(host: Host) {
    super();
    this.#host = host;
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.size;
  }

  override now(): number {
    const instant = this.#host.agenda.now;
    if (this.#cachedFor !== instant) {
      this.#cached = glance(this.#host, () => super.now());
      this.#cachedFor = instant;
    }
    return this.#cached;
  }

  override at(instant: number, task: () => void): CancelTimer {
    const timer: Timer = { instant, task, setAtMonotonic: this.#host.monotonicMs(), cancel: () => {} };
    this.#timers.add(timer);
    this.#arm(timer, 0);
    return () => {
      this.#timers.delete(timer);
      timer.cancel();
    };
  }

  override date(): Date {
    return new Date(1_750_000_000_000 + this.#host.agenda.now);
  }

  override random(): number {
    return this.#host.random.next();
  }

  forget(): void {
    this.#cachedFor = -1;
  }

  drop(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }

  /** The clock runs at another rate from now on. */
  retime(): void {
    this.forget();
    // Timers that stand still are looked at when the machine wakes.
    if (this.#host.state === "suspended") return;
    for (const timer of this.#timers) {
      timer.cancel();
      this.#arm(timer, 0);
    }
  }

  /**
   * The machine slept: every timer counted in time that stood still, so each looks at the clock when its nap is over,
   * which is up to a second late.
   */
  woken(): void {
    this.forget();
    const { agenda, rate } = this.#host;
    const monotonic = this.#host.monotonicMs();
    for (const timer of this.#timers) {
      timer.cancel();
      const nap = napMs - ((monotonic - timer.setAtMonotonic) % napMs);
      this.#arm(timer, agenda.now + nap / rate);
    }
  }

  #arm(timer: Timer, notBefore: number): void {
    if (timer.instant === Number.POSITIVE_INFINITY) return;
    const { agenda, rate, random } = this.#host;
    const left = Math.max(0, timer.instant - this.now()) / rate;
    // Node's timers are a little late.
    const instant = Math.max(notBefore, agenda.now + left) + random.next();
    timer.cancel = agenda.at(instant, () => this.#fire(timer));
  }

  #fire(timer: Timer): void {
    if (this.#host.state === "suspended") return;
    if (this.now() < timer.instant) {
      this.#arm(timer, this.#host.agenda.now + 1);
      return;
    }
    this.#host.deliver(timers, () => {
      if (this.#timers.delete(timer)) timer.task();
    });
  }
}
