/**
 * The simulator: many seeds, each a random story of faults on members, their network and etcd, with what must hold
 * checked after every event. `node scripts/simulate.mjs`:
 *
 *   --seeds N    how many (default 10000)      --from N   the first one (default 1)
 *   --jobs N     processes (default: the machine's, at most 2)
 *   --seed N     one seed in full: the shortest story that breaks the same rule, with its timeline
 *
 * Fails at a broken rule, and if a kind of fault occurred fewer than 1000 times in 10000 seeds, or the median seed had
 * fewer than five terms.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const leastFaults = 0.1;
const leastTerms = 5;
/** How many broken seeds are named. */
const mostShown = 10;

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "1" },
    jobs: { type: "string", default: String(Math.min(2, availableParallelism())) },
    seed: { type: "string" },
  },
});
const numbers = Object.fromEntries(Object.entries(values).map(([name, text]) => [name, whole(name, text)]));

// A folder of its own: several may run at once.
const folder = join(root, "node_modules", ".cache", `simulation-${process.pid}`);
try {
  const main = build();
  process.exitCode =
    numbers.seed === undefined ? await many(main, numbers) : tell(main, numbers.seed, process.env);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function whole(name, text) {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= (name === "from" || name === "seed" ? 0 : 1)) return number;
  console.error(`--${name} must be a whole number, got ${JSON.stringify(text)}`);
  process.exit(2);
}

/** Compiles simulator and product; types are `npm run typecheck`'s. */
function build() {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", version: "0.0.0" }));
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = ["-p", join(root, "test", "simulation", "tsconfig.json"), "--noCheck", "--outDir", folder];
  const { status } = spawnSync(process.execPath, [tsc, ...args], { stdio: "inherit" });
  if (status !== 0) throw new Error("the simulator does not compile");
  return join(folder, "test", "simulation", "main.js");
}

function tell(main, seed, env) {
  return spawnSync(process.execPath, [main, "tell", String(seed)], { stdio: "inherit", env }).status ?? 1;
}

async function many(main, { seeds, from, jobs }) {
  const startedAt = Date.now();
  const outcomes = [];
  const problems = [];
  const said = setInterval(() => console.log(`${outcomes.length} of ${seeds} seeds`), 30_000);
  const shares = Array.from({ length: Math.min(jobs, seeds) }, (_, at) => ({
    first: from + at,
    count: Math.ceil((seeds - at) / Math.min(jobs, seeds)),
  }));
  await Promise.all(
    shares.map(async ({ first, count }) => {
      const stray = await run(main, [first, count, shares.length], (outcome) => outcomes.push(outcome));
      if (stray !== undefined) problems.push(stray);
    }),
  );
  clearInterval(said);
  report(outcomes, (Date.now() - startedAt) / 1_000, shares.length);

  const kinds = JSON.parse(spawnSync(process.execPath, [main, "kinds"], { encoding: "utf8" }).stdout);
  const wanted = Math.floor(leastFaults * seeds);
  for (const kind of kinds) {
    const times = total(outcomes, ({ faults }) => faults[kind] ?? 0);
    if (times < wanted) problems.push(`${kind} occurred ${times} times, of ${wanted} wanted`);
  }
  const terms = median(outcomes.map(({ terms }) => terms));
  if (seeds >= 100 && terms < leastTerms)
    problems.push(`the median seed has ${terms} terms, of ${leastTerms} wanted`);
  if (outcomes.length < seeds && problems.length === 0)
    problems.push(`${outcomes.length} of ${seeds} seeds ran`);

  const broken = outcomes.filter(({ violation }) => violation !== undefined).sort((a, b) => a.seed - b.seed);
  for (const { seed, violation } of broken.slice(0, mostShown)) {
    problems.push(`seed ${seed}: ${violation.rule}: ${violation.text}`);
  }
  if (broken.length > 0) {
    console.log("\nThe shortest story that breaks the same rule:\n");
    tell(main, broken[0].seed, process.env);
    console.log(`\nAgain: node scripts/simulate.mjs --seed ${broken[0].seed}`);
  }
  for (const problem of problems) console.log(`FAILED: ${problem}`);
  console.log(`${outcomes.length - broken.length} seeds passed, ${broken.length} failed`);
  return problems.length > 0 ? 1 : 0;
}

/** Runs seeds in a process of their own. Resolves to what went wrong with it, if anything. */
async function run(main, args, each) {
  const flags = ["--stack-trace-limit=0", "--max-semi-space-size=32"];
  const child = spawn(process.execPath, [...flags, main, "run", ...args.map(String)], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, KEEP_GOING: "1" },
  });
  const ended = new Promise((resolve) => {
    child.once("close", resolve);
  });
  for await (const line of createInterface(child.stdout)) each(JSON.parse(line));
  const status = await ended;
  return status === 0 ? undefined : `a simulator process ended with ${status}`;
}

function report(outcomes, seconds, jobs) {
  const faults = {};
  for (const outcome of outcomes) {
    for (const [kind, times] of Object.entries(outcome.faults)) faults[kind] = (faults[kind] ?? 0) + times;
  }
  const settled = outcomes.map(({ settledAfterMs }) => settledAfterMs).filter((ms) => typeof ms === "number");
  console.log(`seeds        ${outcomes.length} in ${seconds.toFixed(1)} s on ${jobs} processes`);
  console.log(`a second     ${(outcomes.length / seconds).toFixed(1)} seeds`);
  console.log(`events       ${total(outcomes, ({ events }) => events)}`);
  console.log(
    `terms        ${total(outcomes, ({ terms }) => terms)}, in the median seed ${median(outcomes.map(({ terms }) => terms))}`,
  );
  console.log(`failovers    ${total(outcomes, ({ failovers }) => failovers)}`);
  console.log(
    `all well     ${median(settled)} ms after the last fault in the median seed, ${Math.max(0, ...settled)} ms at most`,
  );
  const excused = (why) => total(outcomes, ({ excused }) => excused[why]);
  const excusedMs = Math.round(total(outcomes, ({ excusedMs }) => excusedMs));
  console.log(
    `excused      ${excused("removed") + excused("restored")} overlaps, ${excusedMs} ms together, where etcd itself removed the older leader's key: ` +
      `${excused("removed")} for an operator, ${excused("restored")} by a restore`,
  );
  console.log("faults");
  for (const [kind, times] of Object.entries(faults).sort()) console.log(`  ${kind.padEnd(18)} ${times}`);
}

function total(outcomes, of) {
  return outcomes.reduce((sum, outcome) => sum + of(outcome), 0);
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
}
