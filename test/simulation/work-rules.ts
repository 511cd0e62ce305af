import { claim, leaseOf, type OverClaims } from "./claims.ts";
import type { Excuses } from "./excuses.ts";
import { type Host, napMs } from "./host.ts";
import { MemberProgram } from "./member-program.ts";
import type { Program, Work } from "./program.ts";
import type { Simulation } from "./simulation.ts";

/** Timers are up to so much late, in running processes. */
const timerLateMs = 30;

/** What must hold of the user's work: that it begins and ends in time, and is never done twice at once. */
export class WorkRules {
  readonly #simulation: Simulation;
  readonly #excuses: Excuses;
  readonly #claims: OverClaims;
  /** The works under way. */
  readonly underWay: Set<Work> = new Set();
  terms = 0;
  failovers = 0;
  /** Leases of members that have sent for the deletion of their key. */
  readonly #givenUp: Set<bigint> = new Set();
  readonly #ended: Set<string> = new Set();
  #highest: { token: bigint; history: number } = { token: 0n, history: 0 };

  constructor(simulation: Simulation, excuses: Excuses, claims: OverClaims) {
    this.#simulation = simulation;
    this.#excuses = excuses;
    this.#claims = claims;
  }

  /** The process is no more. */
  gone(program: Program): void {
    for (const work of this.underWay) if (work.program === program) this.underWay.delete(work);
  }

  /** Whether the work of a term has ended. */
  hasEnded(key: string, token: bigint): boolean {
    return this.#ended.has(claim(key, token));
  }

  /** The work of a term begins. */
  started(work: Work): void {
    const { key, token, program } = work;
    this.terms++;
    this.#simulation.note(`${program.id} WORKS, token ${token}`);
    if (
      !this.#simulation.truth.everLed(key, token) &&
      this.#excuses.of(program.host, key, token, 0) === undefined
    ) {
      this.#simulation.violation(
        "never-led",
        `${program.id} is told that it leads with ${key}@${token}, which never was the first`,
      );
    }
    if (this.#claims.isOver(key, token)) {
      this.#simulation.violation(
        "old-claim",
        `${program.id} leads again on ${key}@${token}, a claim that was over`,
      );
    }
    if (program instanceof MemberProgram && this.#claims.isKeyOver(key) && !this.#claims.isOver(key, token)) {
      this.#simulation.violation("same-lease", `${program.id} stands again on the lease of ${key}`);
    }
    const { history } = this.#simulation.truth;
    if (this.#highest.history === history && token <= this.#highest.token && !this.#isExcused(work)) {
      this.#simulation.violation(
        "token-fell",
        `${program.id} leads with token ${token} after ${this.#highest.token}`,
      );
    }
    // A term that began before a restore has a token of another history.
    const stands = this.#simulation.truth.get(key)?.token === token;
    if (stands && (this.#highest.history !== history || token > this.#highest.token)) {
      this.#highest = { token, history };
    }
    for (const other of this.underWay) {
      if (other.program.host === program.host) {
        this.#simulation.violation(
          "two-works",
          `${program.id} has two works at once, ${other.token} and ${token}`,
        );
      }
    }
    if (this.terms > 1) this.failovers++;
    this.underWay.add(work);
  }

  /** The signal of a work's term aborts: by then nobody may say any more that it leads. */
  told({ program, token }: Work): void {
    if (program.leads()?.token === token) {
      this.#simulation.violation("signal-first", `${program.id} says that it leads while its signal aborts`);
    }
  }

  /** A process asks for more time. One that gives its key up, or whose work does not stop, lets the deadline end it. */
  renewing(host: Host, lease: bigint): void {
    if (this.#givenUp.has(lease)) {
      this.#simulation.violation("kept-alive", `${host.name} renews a lease whose key it gives up`);
    }
    const { scenario, now } = this.#simulation;
    // Timers are a little late, and those of a process that is stopped are not its fault.
    const within = scenario.ttlSeconds * 100 + 500;
    for (const { host: at, key, abortedAt, program } of this.underWay) {
      if (at !== host || abortedAt === undefined || leaseOf(key) !== lease || program.deletesAtOnce) continue;
      if (now <= Math.max(abortedAt, host.resumedAt) + within || now - host.wokenAt < napMs + within)
        continue;
      this.#simulation.violation("kept-alive", `${host.name} renews ${key}, whose work should have stopped`);
    }
  }

  settled(work: Work): void {
    this.#ended.add(claim(work.key, work.token));
    if (this.underWay.delete(work))
      this.#simulation.note(`${work.program.id} stops working, token ${work.token}`);
  }

  /** A process asks for the deletion of a key. */
  deleting(host: Host, key: string, token: bigint): void {
    const owned = this.#simulation.programOf(host)?.deletesAtOnce === false;
    if (owned && !this.#claims.isStray(key, token)) this.#givenUp.add(leaseOf(key));
    this.givingUp(host.name, (work) => work.host === host, key, token);
  }

  /** Somebody deletes a key, or asks for that. */
  givingUp(who: string, is: (work: Work) => boolean, key: string, token: bigint): void {
    for (const work of this.underWay) {
      if (work.key !== key || work.token !== token || work.program.deletesAtOnce || !is(work)) continue;
      const text = `${who} gives up ${key}@${token} while ${work.program.id}'s work runs`;
      this.#simulation.violation("gave-up-early", text);
    }
  }

  /** Whether a work may go on for what cannot be helped; it has its time to stop, too. */
  #isExcused({ host, key, token, abortedAt, needMs }: Work): boolean {
    const told =
      abortedAt !== undefined && this.#simulation.now > abortedAt + needMs / host.rate + timerLateMs;
    return !told && this.#excuses.of(host, key, token, 0) !== undefined;
  }

  /** Whether a work acts now: the process runs, and has seen what happened while it did not. */
  #acts({ host }: Work): boolean {
    return host.caughtUp && this.#simulation.now - host.wokenAt > napMs + 20;
  }

  /** Whether a work runs late for a reason that no product can help. */
  #mayRunLate(work: Work): boolean {
    if (work.mood !== undefined && work.abortedAt !== undefined) return true;
    // Where its process was stopped, what is left of the time to stop may be too little.
    const stopped = Math.max(work.host.stoppedAt, work.host.resumedAt);
    if (work.needMs > 0 && this.#simulation.now - stopped < this.#simulation.ttlMs) return true;
    return this.#simulation.scenario.takeoverDelayMs === 0 && this.#isExcused(work);
  }

  /** Called after every event. */
  check(): void {
    if (this.underWay.size === 0) return;
    const acting: Work[] = [];
    for (const work of this.underWay) {
      if (this.underWay.size === 1 && this.#simulation.truth.get(work.key)?.token === work.token) return;
      if (!this.#acts(work) || this.#mayRunLate(work)) continue;
      acting.push(work);
      const removal = this.#simulation.truth.removal(work.key, work.token);
      // Timers are up to a few milliseconds late; the margin is there for that.
      if (removal !== undefined && removal.by === "etcd") {
        this.#simulation.violation(
          "work-outlived",
          `${work.program.id} works with ${work.key}@${work.token}, whose lease is over`,
        );
      }
    }
    if (acting.length > 1) {
      const names = acting.map(({ program, token }) => `${program.id} (token ${token})`).join(" and ");
      this.#simulation.violation("two-workers", `${names} work at once`);
    }
  }
}
