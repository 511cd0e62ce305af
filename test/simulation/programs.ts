import { Election } from "../../src/concurrency/election.ts";
import { Session } from "../../src/concurrency/session.ts";
import type { Term } from "../../src/concurrency/term.ts";
import { Member, type MemberChange } from "../../src/member/member.ts";
import { onAbort, sleep } from "../../src/waiting.ts";
import { observe } from "./observe.ts";
import { type Claim, Program } from "./program.ts";

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
  #session: Session | undefined;
  readonly #leaving = new AbortController();

  start(): void {
    void this.#run()
      .finally(() => this.etcd.close())
      .then(() => {
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

  override get session(): Session | undefined {
    return this.#session;
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
        this.#session = session;
        const election = new Election(session, scenario.election);
        try {
          while (!session.signal.aborted) await this.#campaign(session, election);
        } finally {
          forget();
          this.#session = undefined;
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
      // It may be over again before we hear of it.
      if (term.remainingMs > 0) await this.work(term).catch(() => {});
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
