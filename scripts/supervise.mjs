/**
 * The long tests of `succession run`: programs that die, hang, fork and ignore signals, supervisors that are killed and
 * stopped. Arguments are names of files in test/supervisor, such as `exclusion-quick`; the last line is
 * `N passed, N failed`.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const names = process.argv.length > 2 ? process.argv.slice(2) : [""];
const args = [join(root, "scripts", "test.mjs"), ...names.map((name) => `test/supervisor/${name}`)];
const env = { ...process.env, LONG_TESTS: "1" };
process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit", env }).status ?? 1;
