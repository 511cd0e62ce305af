import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** The processes below one, as Linux knows them. */
export function descendants(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const status = readOrEmpty(`/proc/${name}/stat`);
    // The command's name, in parentheses, may hold anything.
    const above = Number(status.slice(status.lastIndexOf(")") + 2).split(" ")[1]);
    parents.set(Number(name), above);
  }
  const below = (parent: number): number[] =>
    [...parents].filter(([, above]) => above === parent).flatMap(([child]) => [child, ...below(child)]);
  return below(pid);
}

export function isAlive(pid: number): boolean {
  const status = readOrEmpty(`/proc/${pid}/stat`);
  // A zombie is dead; its parent has not looked yet.
  return status !== "" && !/\) [ZX]/.test(status);
}

/** The TCP ports that a process listens on; none if it has ended. */
export function listeningPorts(pid: number): number[] {
  const sockets = new Set(openFiles(pid).map((file) => /^socket:\[(\d+)\]$/.exec(file)?.[1]));
  return readOrEmpty("/proc/net/tcp")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === "0A" && sockets.has(fields[9]))
    .map((fields) => Number.parseInt(fields[1]?.split(":")[1] ?? "", 16));
}

function openFiles(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => linkTarget(`/proc/${pid}/fd/${fd}`));
  } catch {
    return [];
  }
}

function linkTarget(link: string): string[] {
  try {
    return [readlinkSync(link)];
  } catch {
    // Closed between the two looks.
    return [];
  }
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
