import { type Outcome, Simulation } from "./simulation.ts";
import type { Fault, Scenario } from "./story.ts";

interface Story {
  readonly scenario: Scenario;
  readonly outcome: Outcome;
}

/** How many runs the search may take. */
const mostRuns = 300;

/** The story with as few faults as still break the same rule: halves are left out first, then single ones. */
export async function shortest(whole: Scenario, rule: string): Promise<Story> {
  let runs = 0;
  const breaks = async (scenario: Scenario): Promise<boolean> => {
    runs++;
    return (await new Simulation(scenario).run()).violation?.rule === rule;
  };
  let best = whole;
  const tryTo = async (change: Partial<Scenario>): Promise<boolean> => {
    const scenario = { ...best, ...change };
    if (runs >= mostRuns || !(await breaks(scenario))) return false;
    best = scenario;
    return true;
  };
  for (let size = Math.ceil(best.faults.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.faults.length; ) {
      const faults: readonly Fault[] = best.faults.toSpliced(at, size);
      if (!(await tryTo({ faults }))) at += size;
    }
  }
  // Without what the rule does not need.
  await tryTo({ auth: false });
  await tryTo({ observed: false });
  await tryTo({ prepares: false });
  await tryTo({ takeoverDelayMs: 0 });
  await tryTo({ drift: 0 });
  await tryTo({ preference: undefined });
  while (best.processes.length > 2 && (await tryTo({ processes: best.processes.slice(0, -1) })));
  return { scenario: best, outcome: await new Simulation(best, true).run() };
}

/** A story as people read it. */
export function told(scenario: Scenario, outcome: Outcome): string {
  const { faults, seed, ...setting } = scenario;
  return [
    `seed ${seed}: ${JSON.stringify(setting)}`,
    ...faults.map(
      ({ kind, at, forMs, leader, x, y }) =>
        `  at ${at} ms: ${kind}, ${forMs} ms${leader ? ", the leader" : ""} (x ${x.toFixed(3)}, y ${y.toFixed(3)})`,
    ),
    "",
    ...outcome.notes,
    "",
    outcome.violation === undefined
      ? `no violation; ${outcome.terms} terms, well ${Math.round(outcome.settledAfterMs)} ms after the last fault`
      : `VIOLATION ${outcome.violation.rule} at ${outcome.violation.at.toFixed(3)} ms: ${outcome.violation.text}`,
  ].join("\n");
}
