import { type Candidate, Line } from "../../src/concurrency/line.ts";
import { MemberProgram } from "./member-program.ts";
import type { Program } from "./program.ts";
import type { Simulation } from "./simulation.ts";

interface Seen {
  readonly line: Line;
  candidates: readonly Candidate[] | undefined;
}

/** A member's view of the line is that of one revision, whole: nothing missed, and nothing seen in part. */
export class ViewRules {
  readonly #simulation: Simulation;
  readonly #seen: Map<Program, Seen> = new Map();

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  /** Called for each process after every event. */
  check(program: Program): void {
    if (!(program instanceof MemberProgram) || program.member === undefined || program.leaving) return;
    let seen = this.#seen.get(program);
    if (seen === undefined) {
      // The member holds its line as long as it lives; we only look.
      const line = Line.acquire(program.etcd, this.#simulation.scenario.election);
      line.release();
      seen = { line, candidates: undefined };
      this.#seen.set(program, seen);
    }
    const { line } = seen;
    if (!line.synced || line.candidates === seen.candidates) return;
    seen.candidates = line.candidates;
    const { truth } = this.#simulation;
    // What was read before a restore is of another store.
    const readAt = Math.max(program.rereadAt, program.host.startedAt);
    if (truth.history > 0 && readAt <= truth.restoredAt) return;
    const tokens = line.candidates.map(({ token }) => token).join(" ");
    const expected = truth.lineAt(line.revision);
    if (tokens !== expected) {
      const text = `${program.id} sees the line ${tokens} at revision ${line.revision}, which was ${expected}`;
      this.#simulation.violation("wrong-view", text);
    }
  }

  gone(program: Program): void {
    this.#seen.delete(program);
  }
}
