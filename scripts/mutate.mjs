/**
 * Proof that the simulator can fail: breaks a copy of the sources in one way at a time and shows that the simulator
 * alone notices, within 300 seeds. `node scripts/mutate.mjs`:
 *
 *   --seeds N   how many at most for each (default 300)     --jobs N   at a time (default 2)
 *   --only X    mutations whose name contains X
 *
 * Fails if one survives, if the unbroken sources do not pass the same seeds, or if a text to replace is not found once.
 */
import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { mutated, mutations } from "./mutations.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "300" },
    jobs: { type: "string", default: String(Math.min(2, availableParallelism())) },
    only: { type: "string", default: "" },
  },
});

/** A broken product may turn in circles without ever letting go; a sound one needs a second or so for a seed. */
const longestSeedMs = 120_000;

const chosen = mutations.filter(({ name }) => name.includes(values.only));
if (chosen.length === 0) throw new Error(`no mutation is called "${values.only}"`);
const folder = join(root, ".cache", `mutate-${process.pid}`);
const sources = join(folder, "sources");
try {
  // What is changed meanwhile does not count.
  copySources();
  // Checked first, so that a text that has moved is told at once.
  for (const mutation of mutations) mutated(mutation, source);
  process.exitCode = await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function main() {
  const startedAt = Date.now();
  const unbroken = await judge({ name: "nothing", edits: [] }, 0);
  if (unbroken.violation !== undefined) {
    console.log(
      `FAILED: the unbroken sources break a rule: seed ${unbroken.seed}: ${unbroken.violation.text}`,
    );
    return 1;
  }
  console.log(`unbroken: ${unbroken.seeds} seeds pass`);
  const waiting = chosen.map((mutation, at) => ({ mutation, at: at + 1 }));
  const survivors = [];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { mutation, at } = next;
      const { violation, seed, seeds } = await judge(mutation, at);
      if (violation === undefined) survivors.push(mutation.name);
      const how = violation === undefined ? "SURVIVED" : `caught at seed ${seed}, by ${violation.rule}`;
      console.log(`${mutation.name}: ${how} (${seeds} seeds)`);
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, work));
  for (const name of survivors) console.log(`FAILED: ${name}: survived ${values.seeds} seeds`);
  const seconds = Math.round((Date.now() - startedAt) / 1_000);
  console.log(`${chosen.length - survivors.length} of ${chosen.length} mutations caught, in ${seconds} s`);
  return survivors.length > 0 ? 1 : 0;
}

function copySources() {
  for (const path of ["src", join("test", "simulation"), "tsconfig.json"]) {
    cpSync(join(root, path), join(sources, path), { recursive: true });
  }
}

function source(file) {
  return readFileSync(join(sources, file), "utf8");
}

/** Builds the copy with its fault, and runs seeds up to the first that breaks a rule. */
async function judge(mutation, at) {
  const tree = join(folder, String(at));
  cpSync(sources, tree, { recursive: true });
  for (const [file, text] of mutated(mutation, source)) writeFileSync(join(tree, file), text);
  const out = join(tree, "out");
  mkdirSync(out);
  writeFileSync(join(out, "package.json"), JSON.stringify({ type: "module", version: "0.0.0" }));
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = ["-p", join(tree, "test", "simulation", "tsconfig.json"), "--noCheck", "--outDir", out];
  if (spawnSync(process.execPath, [tsc, ...args], { stdio: "inherit" }).status !== 0) {
    throw new Error(`"${mutation.name}" does not compile`);
  }
  const program = join(out, "test", "simulation", "main.js");
  const child = spawn(process.execPath, ["--stack-trace-limit=0", program, "run", "1", values.seeds], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const status = new Promise((resolve) => {
    child.once("close", resolve);
  });
  let seeds = 0;
  let last;
  let hangs = false;
  const giveUp = () => {
    hangs = true;
    child.kill("SIGKILL");
  };
  let silence = setTimeout(giveUp, longestSeedMs);
  for await (const line of createInterface(child.stdout)) {
    clearTimeout(silence);
    silence = setTimeout(giveUp, longestSeedMs);
    last = JSON.parse(line);
    seeds++;
  }
  clearTimeout(silence);
  const code = await status;
  if (hangs) return { seeds, seed: seeds + 1, violation: { rule: "a run that never ends", text: "" } };
  if (code !== 0) throw new Error(`"${mutation.name}": the simulator ended with ${code}`);
  return { seeds, seed: last?.seed, violation: last?.violation };
}
