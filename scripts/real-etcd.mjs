import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { withLock } from "./lock.mjs";

/** The environment variables that name the folders of real etcds, by what they hold. */
export const slots = { 3.4: "ETCD_BIN_34", 3.5: "ETCD_BIN_35" };

const downloadWithinMs = 180_000;

/**
 * The real etcds that tests can use, by slot: those that the environment names, else the
 * one on PATH, else the distribution's packages, unpacked into the cache folder and
 * never installed. `missing` says for each empty slot why it is empty.
 */
export function findRealEtcds(cache) {
  const found = {};
  const missing = {};
  const named = Object.entries(slots).filter(([, variable]) => process.env[variable]);
  for (const [slot, variable] of named) {
    const etcd = inFolder(process.env[variable]);
    if (etcd === undefined)
      throw new Error(`${variable}=${process.env[variable]} holds no etcd and etcdctl that run`);
    found[slot] = etcd;
  }
  if (named.length > 0) {
    for (const slot of emptySlots(found)) missing[slot] = `${slots[slot]} is not set`;
    return { found, missing };
  }
  const { etcd, why } = onPath() ?? fromPackages(join(cache, "etcd"));
  if (etcd !== undefined) found[etcd.slot] = etcd;
  for (const slot of emptySlots(found)) {
    missing[slot] = why ?? `the etcd found is ${etcd.release}; name the folder of another in ${slots[slot]}`;
  }
  return { found, missing };
}

const emptySlots = (found) => Object.keys(slots).filter((slot) => found[slot] === undefined);

function onPath() {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    if (folder === "" || !existsSync(join(folder, "etcd"))) continue;
    const etcd = inFolder(folder);
    if (etcd !== undefined) return { etcd };
  }
  return undefined;
}

/** What a folder with `etcd` and `etcdctl` holds; undefined where they do not run or are too old. */
function inFolder(folder) {
  try {
    const said = run(join(folder, "etcd"), ["--version"]);
    run(join(folder, "etcdctl"), ["version"], { env: { ...process.env, ETCDCTL_API: "3" } });
    const [, release, minor] = /etcd Version: (3\.(\d+)\.\S+)/.exec(said) ?? [];
    if (release === undefined || Number(minor) < 4) return undefined;
    return { slot: minor === "4" ? "3.4" : "3.5", release, folder };
  } catch {
    return undefined;
  }
}

function fromPackages(folder) {
  const binaries = join(folder, "usr", "bin");
  const cached = inFolder(binaries);
  if (cached !== undefined) return { etcd: cached };
  if (!has("apt-get") || !has("dpkg")) {
    return { why: "no etcd and etcdctl on PATH, and this is no Debian system to get its packages from" };
  }
  try {
    mkdirSync(dirname(folder), { recursive: true });
    withLock(`${folder}.lock`, () => {
      if (inFolder(binaries) === undefined) unpack(folder);
    });
    const etcd = inFolder(binaries);
    return etcd === undefined ? { why: "the distribution's etcd packages do not run here" } : { etcd };
  } catch (error) {
    const why = `${error.stderr ?? ""}`.trim().split("\n").at(-1) || error.message;
    return { why: `no etcd and etcdctl on PATH, and the distribution's packages cannot be had: ${why}` };
  }
}

function unpack(folder) {
  process.stderr.write("etcd: none on PATH, getting the distribution's packages\n");
  const work = `${folder}.${process.pid}`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  try {
    download(work);
    const packages = readdirSync(work).filter((name) => name.endsWith(".deb"));
    for (const name of packages) run("dpkg", ["-x", join(work, name), join(work, "root")]);
    rmSync(folder, { recursive: true, force: true });
    renameSync(join(work, "root"), folder);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** With the package lists of the system, or where it has none or old ones, with lists of our own. */
function download(work) {
  // apt gives up its rights as root, and then cannot write here.
  const options = ["-q", "-oAPT::Sandbox::User=root", "-oAcquire::Retries=2", "-oAcquire::http::Timeout=20"];
  const get = (...extra) => apt([...options, ...extra, "download", "etcd-server", "etcd-client"], work);
  try {
    get();
  } catch {
    const lists = join(work, "lists");
    const cache = join(work, "cache");
    mkdirSync(join(lists, "partial"), { recursive: true });
    mkdirSync(join(cache, "archives", "partial"), { recursive: true });
    const own = [`-oDir::State::lists=${lists}`, `-oDir::Cache=${cache}`];
    apt([...options, ...own, "update"], work);
    get(...own);
  }
}

const apt = (args, cwd) => run("apt-get", args, { cwd, timeout: downloadWithinMs });

function has(command) {
  return (process.env.PATH ?? "")
    .split(delimiter)
    .some((folder) => folder !== "" && existsSync(join(folder, command)));
}

function run(command, args, options = {}) {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], ...options });
}
