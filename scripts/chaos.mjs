/**
 * The chaos tests: faults of processes, networks, keys and etcd itself, made to members in processes of their own on real
 * etcd, and the record of who acted when held against the promises. `npm run chaos --`:
 *
 *   --full       every fault at every position in line, on etcd 3.4 and 3.5 with one and three members; else one
 *                position a fault, 3.5 with three members and 3.4 with one
 *   --rounds N   rounds of the tests that play rounds
 *   NAME …       only the files of test/chaos that hold one of the names, such as `cut-off`
 *
 * Says the figures of each run; the last line is `N passed, N failed`.
 */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({
  options: { full: { type: "boolean", default: false }, rounds: { type: "string" } },
  allowPositionals: true,
});
const { full, rounds } = values;
if (rounds !== undefined && !/^[1-9]\d*$/.test(rounds)) {
  console.error(`--rounds must be a whole number of 1 or more, got ${JSON.stringify(rounds)}`);
  process.exit(2);
}
const env = {
  ...process.env,
  LONG_TESTS: "1",
  ...(full ? { CHAOS_FULL: "1" } : {}),
  ...(rounds === undefined ? {} : { CHAOS_ROUNDS: rounds }),
};
// Soaking is a run of its own.
const all = readdirSync(join(root, "test", "chaos")).filter((name) => /^(?!soak).*\.test\.ts$/.test(name));
const files =
  positionals.length === 0
    ? [...all.map((name) => `test/chaos/${name}`), "test/demo/demo-cluster", "test/demo/killed"]
    : positionals.map((name) => `test/chaos/${name}`);
const { status } = spawnSync(process.execPath, [join(root, "scripts", "test.mjs"), ...files], {
  stdio: "inherit",
  env,
});
process.exitCode = status ?? 1;
