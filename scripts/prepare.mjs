/**
 * Makes a checkout ready to run: installs the dependencies where they are not what
 * package-lock.json says, and builds dist/ where a source is newer. Does nothing where
 * all is well. Says everything on standard error, so that a command run through npm
 * keeps its standard output to itself.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { withLock } from "./lock.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const cache = join(root, ".cache");
/** Stands while a build runs; one that is left over tells that dist/ may be incomplete. */
const buildMark = join(cache, "building");

/** What decides whether dist/ is up to date. Tests are not built. */
const sources = ["src", "package.json", "tsconfig.json", "tsconfig.build.json", "tsconfig.page.json"];

requireNode();
if (!ready()) {
  mkdirSync(cache, { recursive: true });
  withLock(join(cache, "prepare.lock"), () => {
    // Another process may have done it while this one waited.
    if (!installed()) npm("ci");
    if (!built()) build();
  });
}

function requireNode() {
  const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const [major, minor] = engines.node.match(/\d+/g).map(Number);
  const [ourMajor, ourMinor] = process.versions.node.split(".").map(Number);
  if (ourMajor > major || (ourMajor === major && ourMinor >= minor)) return;
  fail(`Node.js ${major}.${minor} or later is needed, this is ${process.version} (${process.execPath})`);
}

function ready() {
  return installed() && built();
}

/** Whether node_modules holds what package-lock.json names: every package that is not optional, and no other version. */
function installed() {
  const wanted = packagesOf(join(root, "package-lock.json"));
  const present = packagesOf(join(root, "node_modules", ".package-lock.json"));
  if (wanted === undefined || present === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === "") return true;
    if (present[path] === undefined) return entry.optional === true || entry.devOptional === true;
    return present[path].version === entry.version && present[path].integrity === entry.integrity;
  });
}

function packagesOf(lockFile) {
  try {
    return JSON.parse(readFileSync(lockFile, "utf8")).packages;
  } catch {
    return undefined;
  }
}

/** Whether all of dist/ is younger than all of its sources; a removed source shows in its folder's time. */
function built() {
  const outputs = times(join(root, "dist"), () => true).filter(({ isFile }) => isFile);
  if (outputs.length === 0 || existsSync(buildMark)) return false;
  const inputs = sources.flatMap((path) => times(join(root, path), (name) => !name.endsWith(".test.ts")));
  return Math.min(...outputs.map(({ time }) => time)) >= Math.max(...inputs.map(({ time }) => time));
}

function times(path, counts) {
  const status = statSync(path, { throwIfNoEntry: false });
  if (status === undefined) return [];
  const here = { time: status.mtimeMs, isFile: status.isFile() };
  if (here.isFile) return [here];
  const below = readdirSync(path).filter(counts);
  return [here, ...below.flatMap((name) => times(join(path, name), counts))];
}

function build() {
  writeFileSync(buildMark, "");
  npm("run", "build");
  rmSync(buildMark, { force: true });
}

/** The same npm that started this script, or the one on PATH; both of its outputs go to standard error. */
function npm(...args) {
  const own = process.env.npm_execpath;
  const [command, ...rest] = own?.endsWith(".js") ? [process.execPath, own, ...args] : ["npm", ...args];
  process.stderr.write(`prepare: npm ${args.join(" ")}\n`);
  const shell = process.platform === "win32" && command === "npm";
  const { status, error } = spawnSync(command, rest, { cwd: root, stdio: ["ignore", 2, 2], shell });
  if (status !== 0) fail(`npm ${args.join(" ")} failed${error === undefined ? "" : `: ${error.message}`}`);
}

function fail(message) {
  process.stderr.write(`prepare: ${message}\n`);
  process.exit(1);
}
