/**
 * The dashboard in a real headless Chromium, for two to five minutes. `npm run browser --`:
 *
 *   --chromium FILE    the browser (default: $CHROMIUM, else the first of chromium, chromium-browser, google-chrome on PATH)
 *   --screenshots DIR  keep screenshots at both widths, light and dark, there
 *   NAME …             only the files of test/dashboard that begin with one of the names, such as `page-steering`
 *
 * Without a browser nothing is tested, and that is said; REQUIRE_CHROMIUM=1 makes it a failure. The last line is
 * `N passed, N failed`.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants, mkdirSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { CHROMIUM: preset, PATH: path = "", REQUIRE_CHROMIUM: required } = process.env;
const { values, positionals } = parseArgs({
  options: { chromium: { type: "string" }, screenshots: { type: "string" } },
  allowPositionals: true,
});
const chromium = values.chromium ?? (preset || onPath("chromium", "chromium-browser", "google-chrome"));
if (chromium === undefined) {
  console.log(
    "\n*** CHROMIUM NOT FOUND: the dashboard's page was not tested (install it, or name it in CHROMIUM)\n",
  );
  console.log("0 passed, 0 failed");
  process.exit(required === "1" ? 1 : 0);
}
const folder = values.screenshots === undefined ? "" : resolve(values.screenshots);
if (folder !== "") mkdirSync(folder, { recursive: true });
// One browser at a time: what is measured is the page.
const limits = ["--no-file-parallelism", "--testTimeout=240000"];
const names = positionals.length > 0 ? positionals : ["page"];
const files = names.map((name) => `test/dashboard/${name}`);
const args = [join(root, "scripts", "test.mjs"), ...files, ...limits];
const env = { ...process.env, LONG_TESTS: "1", CHROMIUM: chromium, SCREENSHOTS: folder };
process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit", env }).status ?? 1;

function onPath(...names) {
  const files = names.flatMap((name) => path.split(delimiter).map((each) => join(each, name)));
  return files.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
