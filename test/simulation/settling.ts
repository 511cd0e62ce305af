import { claim } from "./claims.ts";
import { MemberProgram } from "./member-program.ts";
import type { Program } from "./program.ts";
import type { Simulation } from "./simulation.ts";
import { glance } from "./time-source.ts";

/** Whoever has made room several times makes room more slowly, up to half a minute later. */
const orderedWithinMs = 60_000;

/** Who returns from a rest may change the order once more, and who leads; but not for ever. */
const mostChanges = 8;

/** What must become so after the last fault, in bounded time, and then stay so. */
export class Settling {
  readonly #simulation: Simulation;
  #since: number | undefined;
  #leader: string | undefined;
  #changes = 0;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  /** Since when all is well. */
  get since(): number | undefined {
    return this.#since;
  }

  /** When all must be well. */
  get limit(): number {
    const { scenario, ttlMs } = this.#simulation;
    const steeredMs = scenario.preference === undefined ? 0 : orderedWithinMs;
    return scenario.quietAt + 3 * ttlMs + 10_000 + scenario.takeoverDelayMs + steeredMs;
  }

  /** Whether there is no more to be seen. */
  get isOver(): boolean {
    const { now, ttlMs } = this.#simulation;
    return this.#since !== undefined && now > Math.max(this.#since, this.#stillAt) + 0.5 * ttlMs;
  }

  /** When the last fault has no aftermath any more: a term that it spoilt may end a TTL later. */
  get #stillAt(): number {
    return this.#simulation.scenario.quietAt + this.#simulation.ttlMs + 2_000;
  }

  /** To be called again and again from the last fault on. */
  poll(): void {
    const { now, scenario } = this.#simulation;
    const missing = this.#missing() ?? this.#disorder();
    const isSteered = scenario.preference !== undefined;
    const [first] = this.#simulation.truth.line;
    const leader = first === undefined ? undefined : claim(first.key, first.token);
    if (missing !== undefined) {
      if (now < this.#stillAt) {
        this.#since = undefined;
      } else if (this.#since !== undefined && !(isSteered && ++this.#changes < mostChanges)) {
        this.#simulation.violation("unsettled", `without any fault: ${missing}`);
      } else if (now > this.limit) {
        this.#simulation.violation(
          "not-settled",
          `${Math.round(now - scenario.quietAt)} ms after the last fault: ${missing}`,
        );
      } else this.#since = undefined;
      return;
    }
    if (this.#since === undefined || now < this.#stillAt) {
      if (this.#since === undefined) this.#simulation.note("all is well");
      this.#since ??= now;
      this.#leader = leader;
    } else if (this.#leader === undefined) {
      // Everybody rested; whoever is back first leads.
      this.#leader = leader;
    } else if (this.#leader !== leader) {
      if (isSteered && ++this.#changes < mostChanges) {
        this.#since = undefined;
        return;
      }
      this.#simulation.violation("unsettled", "another leads without any fault");
    }
  }

  /** What is still missing to be well: nothing, if undefined. */
  #missing(): string | undefined {
    const { line } = this.#simulation.truth;
    const standing = [...this.#simulation.programs].filter(
      (program) => program.standing && program.host.alive && !program.resting,
    );
    if (standing.length === 0) return undefined;
    const leaders = standing.filter((program) => glance(program.host, () => program.leads()) !== undefined);
    if (leaders.length !== 1)
      return `${leaders.length} lead: ${standing.map((each) => `${each.id} ${each.describe()}`).join(", ")}`;
    const [leader] = leaders as [Program];
    if (this.#simulation.ownerOf(line[0]) !== leader)
      return `${leader.id} leads, and ${line[0]?.value ?? "nobody"} is first in line`;
    for (const program of standing) {
      const keys = line.filter((key) => this.#simulation.ownerOf(key) === program);
      if (keys.length !== 1)
        return `${program.id} (${program.describe()}) has ${keys.length} keys in the line`;
    }
    // One who rests may put his key at any moment.
    const stray = line.find((key) => this.#simulation.ownerOf(key)?.standing !== true);
    return stray === undefined ? undefined : `${stray.key} (${stray.value}) is in the line, and nobody's`;
  }

  /** Who stands before somebody to be preferred: nobody, if undefined. */
  #disorder(): string | undefined {
    const { truth, scenario } = this.#simulation;
    if (scenario.preference === undefined) return undefined;
    const [leader, next, ...others] = truth.line.map((key) => this.#simulation.ownerOf(key));
    // Nobody is led past a stranger, whose key would not come back.
    const stranger = others.findIndex((each) => !(each instanceof MemberProgram));
    const within = stranger < 0 ? others : others.slice(0, stranger);
    const reachable = next instanceof MemberProgram ? [next, ...within] : [next];
    const switchesBack = scenario.preference.switchBackAfterMs !== undefined;
    return (switchesBack ? disorder(leader, reachable) : undefined) ?? disorder(next, others);
  }
}

function disorder(one: Program | undefined, behind: readonly (Program | undefined)[]): string | undefined {
  if (!(one instanceof MemberProgram)) return undefined;
  const better = behind.find((each) => each instanceof MemberProgram && each.priority > one.priority);
  return better === undefined ? undefined : `${one.id} stands before ${better.id}, which is to be preferred`;
}
