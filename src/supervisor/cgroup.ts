import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The folder of the own cgroup in the version 2 hierarchy, wherever that is mounted; `undefined` where it is not. */
function ownCgroup(): string | undefined {
  // Fields: id, parent, device, root, mount point, options, …, "-", type.
  const mounts = read("/proc/self/mountinfo")?.split("\n") ?? [];
  const mount = mounts.map((line) => line.split(" ")).find((fields) => afterDash(fields) === "cgroup2");
  const [, own] = /^0::(.*)$/m.exec(read("/proc/self/cgroup") ?? "") ?? [];
  const [, , , root, point] = mount ?? [];
  if (own === undefined || root === undefined || point === undefined) return undefined;
  const below = root !== "/" && own.startsWith(root) ? own.slice(root.length) : own;
  return join(unescaped(point), below);
}

/** Makes a cgroup below the own one and returns its folder. Throws where that is not allowed. */
export function makeCgroup(name: string): string {
  const own = ownCgroup();
  if (own === undefined) throw new Error("no cgroup version 2 is mounted");
  const folder = join(own, name);
  mkdirSync(folder);
  if (existsSync(join(folder, "cgroup.kill"))) return folder;
  rmdirSync(folder);
  throw new Error("this kernel has no cgroup.kill; Linux 5.14 has");
}

/** Whether a process lives in it; in one that somebody removed none does. */
export function isPopulated(folder: string): boolean {
  return /^populated 1$/m.test(read(join(folder, "cgroup.events")) ?? "");
}

/** Kills every process in it; true if there was none. */
export function killCgroup(folder: string): boolean {
  if (!isPopulated(folder)) return true;
  try {
    writeFileSync(join(folder, "cgroup.kill"), "1");
  } catch {
    // Gone in this moment: the next look says so.
  }
  return false;
}

export function removeCgroup(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Gone, or the last process is not reaped yet; an empty folder is left behind, and does nothing.
  }
}

const afterDash = (fields: readonly string[]): string | undefined => fields[fields.indexOf("-") + 1];

/** mountinfo writes spaces and the like as octal numbers. */
const unescaped = (path: string): string =>
  path.replace(/\\(\d{3})/g, (_match, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
