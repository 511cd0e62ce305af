/**
 * The soak: many members in one process, on a real etcd behind a proxy, through connections that break and members that
 * leave and come back, for `--minutes N` (default 1.5). Nothing may be left over, here or in etcd, and the heap may not
 * grow. Says the figures; the last line is `N passed, N failed`.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { minutes } = parseArgs({ options: { minutes: { type: "string", default: "1.5" } } }).values;
if (!(Number(minutes) >= 1)) {
  console.error(`--minutes must be a number of 1 or more, got ${JSON.stringify(minutes)}`);
  process.exit(2);
}
const args = [join(root, "scripts", "test.mjs"), "test/chaos/soak.long.test.ts"];
const env = { ...process.env, LONG_TESTS: "1", SOAK_MINUTES: minutes };
process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit", env }).status ?? 1;
