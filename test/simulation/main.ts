/**
 * The simulator as a process: runs seeds and prints a JSON line for each, or tells one in full. Started by
 * scripts/simulate.mjs and scripts/mutate.mjs, which compile it first.
 *
 *   main.js run FROM COUNT [STEP]    every STEP-th seed; stops at the first violation unless KEEP_GOING=1
 *   main.js tell SEED                one seed, with its shortest story and timeline
 */

import { shortest, told } from "./shortest.ts";
import { Simulation } from "./simulation.ts";
import { faultKinds, scenarioOf } from "./story.ts";
import { installTime } from "./time-source.ts";

const [command = "", first = "0", second = "1", third = "1"] = process.argv.slice(2);
const { KEEP_GOING: keepGoing, WHOLE_STORY: whole } = process.env;
installTime();

function say(line: object | string): void {
  process.stdout.write(`${typeof line === "string" ? line : JSON.stringify(line)}\n`);
}

async function run(from: number, count: number, step: number): Promise<void> {
  for (let at = 0; at < count; at++) {
    const outcome = await new Simulation(scenarioOf(from + at * step)).run();
    say(outcome);
    if (outcome.violation !== undefined && keepGoing !== "1") return;
  }
}

async function tell(seed: number): Promise<void> {
  const scenario = scenarioOf(seed);
  const outcome = await new Simulation(scenario, true).run();
  if (outcome.violation === undefined || whole === "1") {
    say(told(scenario, outcome));
    return;
  }
  const short = await shortest(scenario, outcome.violation.rule);
  say(`${scenario.faults.length} faults, of which ${short.scenario.faults.length} are needed`);
  say(told(short.scenario, short.outcome));
  process.exitCode = 1;
}

if (command === "run") await run(Number(first), Number(second), Number(third));
else if (command === "tell") await tell(Number(first));
else if (command === "kinds") say(faultKinds);
else throw new Error(`there is no command ${command}`);
