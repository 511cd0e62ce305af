import { claim, type Excuse, Excuses, leaseOf } from "./excuses.ts";
import type { Host } from "./host.ts";
import { MemberProgram } from "./member-program.ts";
import type { Program, Work } from "./program.ts";
import type { Simulation } from "./simulation.ts";
import { glance } from "./time-source.ts";
import type { Removal, TrueKey } from "./truth.ts";
import { ViewRules } from "./view-rules.ts";
import { WaitingRules } from "./waiting-rules.ts";

/** A program that says that it leads. */
interface Leading {
  readonly program: Program;
  readonly token: bigint;
  readonly key: string;
  readonly lease: bigint;
}

/** Timers are up to so much late, in running processes. */
const timerLateMs = 30;

/** How long the machine may let a process act after its sleep: the product's timers nap that long. */
const napMs = 1_000;

/** What must hold at every moment of a run. */
export class Rules {
  readonly #simulation: Simulation;
  readonly waiting: WaitingRules;
  readonly #views: ViewRules;
  readonly #excuses: Excuses;
  /** The user's work under way. */
  readonly works: Set<Work> = new Set();
  readonly leading: Map<Program, Leading> = new Map();
  /** Claims that are over: a role that went, or a key whose deletion was sent. */
  readonly over: Set<string> = new Set();
  /** Claims whose work has ended. */
  readonly #workedOn: Set<string> = new Set();
  readonly #keysOver: Set<string> = new Set();
  /** Who has been told in this turn that the claim is over. */
  readonly mustStandBy: Map<Program, string> = new Map();
  terms = 0;
  failovers = 0;
  /** Overlaps of roles where etcd itself had removed the older leader's key, and how long they were together. */
  readonly excused: Record<Excuse, number> = { removed: 0, restored: 0 };
  excusedMs = 0;
  #highest: { token: bigint; history: number } = { token: 0n, history: 0 };
  #overlapping = false;
  #checkedAt = 0;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
    this.waiting = new WaitingRules(simulation);
    this.#views = new ViewRules(simulation);
    this.#excuses = new Excuses(simulation);
  }

  /** The process is no more. */
  gone(program: Program): void {
    this.leading.delete(program);
    this.waiting.gone(program);
    this.#views.gone(program);
    for (const work of this.works) if (work.program === program) this.works.delete(work);
  }

  workStarted(work: Work): void {
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
    if (this.over.has(claim(key, token))) {
      this.#simulation.violation(
        "old-claim",
        `${program.id} leads again on ${key}@${token}, a claim that was over`,
      );
    }
    if (program instanceof MemberProgram && this.#keysOver.has(key) && !this.over.has(claim(key, token))) {
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
    for (const other of this.works) {
      if (other.program.host === program.host) {
        this.#simulation.violation(
          "two-works",
          `${program.id} has two works at once, ${other.token} and ${token}`,
        );
      }
    }
    if (this.terms > 1) this.failovers++;
    this.works.add(work);
  }

  /** The signal of a work's term aborts: by then nobody may say any more that it leads. */
  workTold({ program, token }: Work): void {
    if (program.leads()?.token === token) {
      this.#simulation.violation("signal-first", `${program.id} says that it leads while its signal aborts`);
    }
  }

  /** A process asks for more time. One whose work does not stop in its time lets the deadline end the key. */
  renewing(host: Host, lease: bigint): void {
    const { scenario, now } = this.#simulation;
    // Timers are a little late, and those of a process that is stopped are not its fault.
    const within = scenario.ttlSeconds * 100 + 500;
    for (const { host: at, key, abortedAt, program } of this.works) {
      if (at !== host || abortedAt === undefined || leaseOf(key) !== lease || program.deletesAtOnce) continue;
      if (now <= Math.max(abortedAt, host.resumedAt) + within || now - host.wokenAt < napMs + within)
        continue;
      this.#simulation.violation("kept-alive", `${host.name} renews ${key}, whose work should have stopped`);
    }
  }

  workSettled(work: Work): void {
    this.#workedOn.add(claim(work.key, work.token));
    if (this.works.delete(work))
      this.#simulation.note(`${work.program.id} stops working, token ${work.token}`);
  }

  put(key: TrueKey, created: boolean): void {
    const owner = this.#simulation.cluster.leases.get(key.lease)?.owner;
    this.#simulation.note(`etcd: ${key.key} = ${key.value}, token ${key.token}`);
    if (typeof owner === "object") this.waiting.put(owner, key, created);
  }

  removed(removal: Removal): void {
    const { key, by } = removal;
    const owner = this.#simulation.cluster.leases.get(key.lease)?.owner;
    if (typeof owner === "object") this.waiting.removed(owner, removal);
    const who = typeof by === "string" ? by : by.name;
    this.#simulation.note(`etcd: ${key.key} (${key.value}, token ${key.token}) is gone, by ${who}`);
    if (typeof by === "string") return;
    for (const work of this.works) {
      if (work.key !== key.key || work.token !== key.token || work.program.deletesAtOnce) continue;
      this.#simulation.violation(
        "gave-up-early",
        `${who} removed ${key.key}@${key.token} while ${work.program.id}'s work runs`,
      );
    }
    if (owner !== undefined && owner !== by) {
      this.#simulation.violation(
        "foreign-delete",
        `${who} removed ${key.key}@${key.token}, which is not its own`,
      );
    }
  }

  /** Whether a work may go on for what cannot be helped; it has its time to stop, too. */
  #isExcused({ host, key, token, abortedAt, needMs }: Work): boolean {
    const told =
      abortedAt !== undefined && this.#simulation.now > abortedAt + needMs / host.rate + timerLateMs;
    return !told && this.#excuses.of(host, key, token, 0) !== undefined;
  }

  /** The same for a role, which takes no time to stop. A member's ends so long before its deadline. */
  #excuseOf({ program, key, token, lease }: Leading): Excuse | undefined {
    const ttlMs = this.#simulation.cluster.leases.get(lease)?.ttlMs ?? this.#simulation.ttlMs;
    return this.#excuses.of(program.host, key, token, program.deletesAtOnce ? 0 : ttlMs / 10);
  }

  /** Called after every event, when all that it set off has happened. */
  check(): void {
    const now: Leading[] = [];
    for (const program of this.#simulation.programs) {
      const { host } = program;
      const term = host.alive ? glance(host, () => program.leads()) : undefined;
      const before = this.leading.get(program);
      if (before !== undefined && before.token !== term?.token) {
        this.leading.delete(program);
        this.over.add(claim(before.key, before.token));
        this.#keysOver.add(before.key);
        this.#simulation.note(`${program.id} leads no more, token ${before.token}`);
      }
      if (term !== undefined) {
        let leading = this.leading.get(program);
        if (leading === undefined) {
          leading = { program, token: term.token, key: term.key, lease: leaseOf(term.key) };
          this.leading.set(program, leading);
          this.#simulation.note(`${program.id} LEADS, token ${term.token}`);
          if (this.over.has(claim(term.key, term.token))) {
            this.#simulation.violation(
              "revived",
              `${program.id} leads again on ${term.key}@${term.token}, a claim that was over`,
            );
          }
        }
        now.push(leading);
        this.#checkKey(leading);
        this.#checkClaim(
          leading,
          glance(host, () => term.remainingMs),
        );
        if (program instanceof MemberProgram && this.#workedOn.has(claim(term.key, term.token))) {
          const text = `${program.id} leads with ${term.key}@${term.token}, whose work has ended`;
          this.#simulation.violation("leads-idle", text);
        }
        const lost = this.mustStandBy.get(program);
        if (lost === claim(term.key, term.token) && host.caughtUp) {
          this.#simulation.violation(
            "knew-and-led",
            `${program.id} was told that ${lost} is gone, and still leads`,
          );
        }
      }
      if (program instanceof MemberProgram) this.#checkChanges(program);
      this.#checkSession(program);
      this.#views.check(program);
      this.waiting.check(program);
    }
    if (this.mustStandBy.size > 0) this.mustStandBy.clear();
    this.#checkOverlap(now);
    this.#checkWorks();
    this.#checkedAt = this.#simulation.now;
  }

  #checkKey(leading: Leading): void {
    const { program, key, token } = leading;
    const found = this.#simulation.truth.get(key);
    const { host } = program;
    const first = this.#simulation.truth.line[0];
    const stands = found?.token === token && this.#simulation.cluster.leases.get(found.lease)?.owner === host;
    if ((stands && first === found) || this.#excuseOf(leading) !== undefined) return;
    if (stands) {
      // Only a store that went back can put anybody before a leader.
      const text = `${program.id} leads with ${key}@${token} behind ${first?.key}@${first?.token}`;
      this.#simulation.violation("not-first", text);
      return;
    }
    const removal = this.#simulation.truth.removal(key, token);
    const by =
      removal === undefined ? "nobody" : typeof removal.by === "string" ? removal.by : removal.by.name;
    const rule =
      by === "etcd" ? "lease-outlived" : by === "operator" || by === "restore" ? "key-outlived" : "no-key";
    this.#simulation.violation(
      rule,
      `${program.id} leads with ${key}@${token}, which ${by} removed ${(this.#simulation.now - (removal?.at ?? 0)).toFixed(1)} ms ago`,
    );
  }

  /** Nobody may count on his lease for longer than etcd has promised, even if nothing comes of it. */
  #checkClaim({ program, token, key, lease: id }: Leading, remainingMs: number): void {
    const lease = this.#simulation.cluster.leases.get(id);
    if (lease === undefined) return;
    const { now, cluster } = this.#simulation;
    // A member's claim ends so long before its proof does.
    const reserveMs = program.deletesAtOnce ? 0 : lease.ttlMs / 10;
    const within = this.#excuses.proofMs(lease.ttlMs, reserveMs);
    const until = now + remainingMs / program.host.rate;
    const over = until - (lease.renewedAt + within);
    if (over > 0) {
      const text = `${program.id} counts on ${key}@${token} for ${over.toFixed(1)} ms longer than its lease allows`;
      this.#simulation.violation("over-claimed", text);
    }
    const seenAt = cluster.seen.get(claim(key, token));
    if (seenAt !== undefined && until > seenAt + within) {
      const text = `${program.id} counts on ${key}@${token}, which was last seen ${(now - seenAt).toFixed(1)} ms ago`;
      this.#simulation.violation("long-unseen", text);
    }
  }

  /** The same for a session, whoever counts on it. */
  #checkSession({ host, id, session }: Program): void {
    if (session === undefined || !host.alive) return;
    const lease = this.#simulation.cluster.leases.get(session.leaseId);
    if (lease === undefined) return;
    const { now } = this.#simulation;
    const remainingMs = glance(host, () => session.remainingMs);
    const over = now + remainingMs / host.rate - (lease.renewedAt + this.#excuses.proofMs(lease.ttlMs, 0));
    if (remainingMs > 0 && over > 0) {
      const text = `${id}'s session counts on its lease for ${over.toFixed(1)} ms longer than it is promised`;
      this.#simulation.violation("over-claimed", text);
    }
  }

  #checkChanges(program: MemberProgram): void {
    const { last, host } = program;
    if (!host.caughtUp || last?.role !== "leader") return;
    if (last.term?.signal.aborted === true) {
      this.#simulation.violation(
        "changes-ended-term",
        `${program.id} was told last that it leads, with a term that has ended`,
      );
    }
  }

  #checkOverlap(leading: readonly Leading[]): void {
    if (leading.length < 2) {
      this.#overlapping = false;
      return;
    }
    // Whoever waits for those who cannot know is never beside them.
    const excusable = this.#simulation.scenario.takeoverDelayMs === 0;
    const excuses = excusable ? leading.flatMap((each) => this.#excuseOf(each) ?? []) : [];
    if (leading.length - excuses.length > 1) {
      const names = leading.map(({ program, token }) => `${program.id} (token ${token})`).join(" and ");
      this.#simulation.violation("two-leaders", `${names} lead at once`);
    }
    if (!this.#overlapping) this.excused[excuses[0] ?? "removed"]++;
    else this.excusedMs += this.#simulation.now - this.#checkedAt;
    this.#overlapping = true;
  }

  /** Whether a work acts now: the process runs, and has seen what happened while it did not. */
  #acts({ host }: Work): boolean {
    return host.caughtUp && this.#simulation.now - host.wokenAt > napMs + 20;
  }

  /** Whether a work runs late for a reason that no product can help. */
  #mayRunLate(work: Work): boolean {
    if (work.mood !== undefined) return true;
    // Where its process was stopped, what is left of the time to stop may be too little.
    const stopped = Math.max(work.host.stoppedAt, work.host.resumedAt);
    if (work.needMs > 0 && this.#simulation.now - stopped < this.#simulation.ttlMs) return true;
    return this.#simulation.scenario.takeoverDelayMs === 0 && this.#isExcused(work);
  }

  #checkWorks(): void {
    if (this.works.size === 0) return;
    const acting: Work[] = [];
    for (const work of this.works) {
      if (this.works.size === 1 && this.#simulation.truth.get(work.key)?.token === work.token) return;
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
