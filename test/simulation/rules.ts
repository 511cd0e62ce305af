import { claim, leaseOf, OverClaims } from "./claims.ts";
import { type Excuse, Excuses } from "./excuses.ts";
import { MemberProgram } from "./member-program.ts";
import type { Program } from "./program.ts";
import type { Simulation } from "./simulation.ts";
import { SteeringRules } from "./steering-rules.ts";
import { glance } from "./time-source.ts";
import type { Removal, TrueKey } from "./truth.ts";
import { ViewRules } from "./view-rules.ts";
import { WaitingRules } from "./waiting-rules.ts";
import { WorkRules } from "./work-rules.ts";

/** A program that says that it leads. */
interface Leading {
  readonly program: Program;
  readonly token: bigint;
  readonly key: string;
  readonly lease: bigint;
}

/** What must hold at every moment of a run. */
export class Rules {
  readonly #simulation: Simulation;
  readonly waiting: WaitingRules;
  readonly #views: ViewRules;
  readonly #excuses: Excuses;
  readonly works: WorkRules;
  readonly steering: SteeringRules;
  readonly leading: Map<Program, Leading> = new Map();
  readonly claims: OverClaims = new OverClaims();
  /** Who has been told in this turn that the claim is over. */
  readonly mustStandBy: Map<Program, string> = new Map();
  /** Overlaps of roles where etcd itself had removed the older leader's key, and how long they were together. */
  readonly excused: Record<Excuse, number> = { removed: 0, restored: 0 };
  excusedMs = 0;
  #overlapping = false;
  #checkedAt = 0;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
    this.waiting = new WaitingRules(simulation);
    this.#views = new ViewRules(simulation);
    this.steering = new SteeringRules(simulation);
    this.#excuses = new Excuses(simulation);
    this.works = new WorkRules(simulation, this.#excuses, this.claims);
  }

  /** The process is no more. */
  gone(program: Program): void {
    this.leading.delete(program);
    this.waiting.gone(program);
    this.#views.gone(program);
    this.works.gone(program);
  }

  put(key: TrueKey, created: boolean): void {
    const owner = this.#simulation.cluster.leases.get(key.lease)?.owner;
    this.#simulation.note(`etcd: ${key.key} = ${key.value}, token ${key.token}`);
    if (typeof owner !== "object") return;
    // What an operator puts on a member's lease is not where that member stands.
    this.waiting.put(owner, key, created && this.#simulation.truth.actor === owner);
  }

  removed(removal: Removal): void {
    const { key, by } = removal;
    const owner = this.#simulation.cluster.leases.get(key.lease)?.owner;
    if (typeof owner === "object") this.waiting.removed(owner, removal);
    const who = typeof by === "string" ? by : by.name;
    this.#simulation.note(`etcd: ${key.key} (${key.value}, token ${key.token}) is gone, by ${who}`);
    if (typeof by === "string") return;
    this.works.givingUp(who, () => true, key.key, key.token);
    if (owner === undefined || owner === by) return;
    this.claims.add(key.key, key.token);
    this.steering.passed(by, key);
  }

  /** What excuses a role, which takes no time to stop. A member's ends so long before its deadline. */
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
        this.claims.add(before.key, before.token);
        this.#simulation.note(`${program.id} leads no more, token ${before.token}`);
      }
      if (term !== undefined) {
        let leading = this.leading.get(program);
        if (leading === undefined) {
          leading = { program, token: term.token, key: term.key, lease: leaseOf(term.key) };
          this.leading.set(program, leading);
          this.#simulation.note(`${program.id} LEADS, token ${term.token}`);
          if (this.claims.isOver(term.key, term.token)) {
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
        if (program instanceof MemberProgram && this.works.hasEnded(term.key, term.token)) {
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
    this.works.check();
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
}
