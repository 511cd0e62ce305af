import type { Program } from "./program.ts";
import type { Simulation } from "./simulation.ts";
import { glance } from "./time-source.ts";

/** What must become so after the last fault, in bounded time, and then stay so. */
export class Settling {
  readonly #simulation: Simulation;
  #since: number | undefined;
  #leader: string | undefined;

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
    return scenario.quietAt + 3 * ttlMs + 10_000 + scenario.takeoverDelayMs;
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
    const missing = this.#missing();
    const leader = this.#simulation.truth.line[0];
    if (missing !== undefined) {
      if (now < this.#stillAt) {
        this.#since = undefined;
      } else if (this.#since !== undefined) {
        this.#simulation.violation("unsettled", `without any fault: ${missing}`);
      } else if (now > this.limit) {
        this.#simulation.violation(
          "not-settled",
          `${Math.round(now - scenario.quietAt)} ms after the last fault: ${missing}`,
        );
      }
      return;
    }
    if (this.#since === undefined || now < this.#stillAt) {
      if (this.#since === undefined) this.#simulation.note("all is well");
      this.#since ??= now;
      this.#leader = `${leader?.key}@${leader?.token}`;
    } else if (this.#leader !== `${leader?.key}@${leader?.token}`) {
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
}
