/**
 * Traffic under load: handovers, kills and real load balancers (HAProxy and nginx, where they are installed), for some
 * minutes. `npm run traffic --`:
 *
 *   --kills N   how many leaders are killed behind the gateway (default 20)
 *   NAME …      only the files of test/traffic that begin with one of the names, such as `balancers`
 *
 * The last line is `N passed, N failed`.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({
  options: { kills: { type: "string", default: "20" } },
  allowPositionals: true,
});
if (!/^[1-9]\d*$/.test(values.kills)) {
  console.error(`--kills must be a whole number of 1 or more, got ${JSON.stringify(values.kills)}`);
  process.exit(2);
}
const names =
  positionals.length > 0 ? positionals : ["balancers", "gateway-failover", "gateway-idle", "guard-load"];
const args = [join(root, "scripts", "test.mjs"), ...names.map((name) => `test/traffic/${name}`)];
const env = { ...process.env, LONG_TESTS: "1", TRAFFIC_KILLS: values.kills };
process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit", env }).status ?? 1;
