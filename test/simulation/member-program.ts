import type { Term } from "../../src/concurrency/term.ts";
import { SuccessionError } from "../../src/errors.ts";
import { Member, type MemberChange } from "../../src/member/member.ts";
import type { PhaseName } from "../../src/member/phase.ts";
import { observe } from "./observe.ts";
import { type Claim, Program } from "./program.ts";

/** A process that is a `Member`, as almost everybody's. */
export class MemberProgram extends Program {
  member: Member | undefined;
  /** The last state that `changes` told. */
  last: MemberChange | undefined;
  readonly #joining = new AbortController();

  start(): void {
    const { scenario } = this.simulation;
    const { random } = this.host;
    const { prepares, preference } = scenario;
    const { switchBackAfterMs } = preference ?? {};
    const join = Member.join({
      etcd: this.etcd,
      election: scenario.election,
      id: this.id,
      ttlSeconds: scenario.ttlSeconds,
      zone: "z",
      takeoverDelayMs: scenario.takeoverDelayMs,
      ...(preference === undefined ? {} : { priority: this.priority }),
      ...(switchBackAfterMs === undefined ? {} : { switchBackAfterMs }),
      signal: this.#joining.signal,
      ...(prepares ? { prepare: (term: Term) => this.prepare(term, random.between(0, 800)) } : {}),
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
        else void this.#close();
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
    // Who has not joined yet leaves when he has, or gives it up.
    else if (this.host.random.chance(0.5)) this.#joining.abort(new Error("leaving"));
  }

  /** How much it is to be preferred. */
  get priority(): number {
    return this.simulation.scenario.preference?.priorities[this.index] ?? 100;
  }

  /** Asks whoever leads to hand over, as its operator would; false if nothing can be asked here. */
  askForHandover(to: string | undefined, timeoutMs: number): boolean {
    const { member, simulation } = this;
    if (member === undefined || this.leaving || !this.host.alive) return false;
    this.host.deliver("orders", () => {
      member.handover({ ...(to === undefined ? {} : { to }), timeoutMs }).then(
        (done) => {
          simulation.note(`${this.id} has had ${done.from.id} hand over to ${done.to.id}`);
          if (simulation.truth.everLed(done.to.key, done.to.token)) return;
          simulation.violation(
            "untrue-handover",
            `${this.id} hears that ${done.to.key} leads, which never did`,
          );
        },
        (error: unknown) => {
          simulation.note(`${this.id} has asked for a handover in vain: ${String(error)}`);
          if (error instanceof SuccessionError) return;
          simulation.violation("handover-rejected", `${this.id}: ${String(error)}`);
        },
      );
    });
    return true;
  }

  get phase(): PhaseName | undefined {
    return this.member?.phase;
  }

  override get resting(): boolean {
    const { member, last } = this;
    return member?.phase === "outside" && (last?.cause === "finished" || last?.cause === "failed");
  }

  describe(): string {
    return `${this.member?.phase ?? "joining"}/${this.member?.role ?? "-"}`;
  }

  #leave(member: Member): void {
    void member.leave().then(() => this.#close());
  }

  async #close(): Promise<void> {
    await this.etcd.close();
    this.left = true;
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
