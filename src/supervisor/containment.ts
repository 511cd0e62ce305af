import { spawnSync } from "node:child_process";
import { makeCgroup } from "./cgroup.ts";
import type { Enclosure } from "./enclosure.ts";
import { Killing } from "./killing.ts";
import { childIds, innerId, showsThisNamespace } from "./process-table.ts";

export const containmentNames = ["cgroup", "namespace", "group"] as const;

export type ContainmentName = (typeof containmentNames)[number];

/** A way to start a program such that all of its processes can be found and killed. */
export interface Containment {
  readonly name: ContainmentName;
  /** What is to be known before the program starts. Throws where it does not work. */
  enclose(runId: string, mark: string): Enclosure;
  /** What to run in place of the command. */
  wrap(command: readonly string[], enclosure: Enclosure): readonly string[];
  /** What to run in place of another command that belongs to the program: it sees the machine as it is. */
  join(command: readonly string[], enclosure: Enclosure): readonly string[];
  /** The program's own process, by that of the command line that started it. */
  mainId(pid: number): number | undefined;
}

/** The shell puts itself into the cgroup and then becomes the program; what cannot be contained does not run. */
const inCgroup: Containment["wrap"] = (command, enclosure) => [
  ...["/bin/sh", "-c", 'echo $$ >"$0/cgroup.procs" || exit 126; exec "$@"'],
  ...[enclosure.cgroup ?? "", ...command],
];

const cgroup: Containment = {
  name: "cgroup",
  enclose: (runId, mark) => ({ mark, cgroup: makeCgroup(`succession-${runId}`) }),
  wrap: inCgroup,
  join: inCgroup,
  mainId: (pid) => pid,
};

/**
 * The program is the second process of a pid namespace: the first one must reap, ignores signals, and takes all others
 * with it when it dies. A shell can be that; what it would say of a killed program goes nowhere.
 */
const namespace: Containment = {
  name: "namespace",
  enclose: (_runId, mark) => ({ mark }),
  wrap: (command) => [
    ...["unshare", "--pid", "--fork", "--kill-child", "--"],
    ...["/bin/sh", "-c", 'exec 9>&2 2>/dev/null; setsid "$@" 2>&9 9>&-; exit $?', "sh", ...command],
  ],
  join: (command) => command,
  mainId: (pid) =>
    childIds(pid)
      .flatMap(childIds)
      .find((each) => innerId(each) === 2),
};

const group: Containment = {
  name: "group",
  enclose: (_runId, mark) => ({ mark }),
  wrap: (command) => command,
  join: (command) => command,
  mainId: (pid) => pid,
};

/** From the strictest to the one that works everywhere. */
const containments: readonly Containment[] = [cgroup, namespace, group];

/** The file descriptors from 3 on that a program can be given: the shells in between use 9. */
export const highestFd = 8;

export interface Choice {
  readonly containment: Containment;
  /** Why stricter ones do not work here. */
  readonly refused: readonly string[];
}

/** The containment asked for, or the strictest that works on this machine: each is tried once. Throws if none does. */
export function chooseContainment(wanted: ContainmentName | "auto"): Choice {
  const refused: string[] = [];
  for (const containment of containments) {
    if (wanted !== "auto" && wanted !== containment.name) continue;
    const trouble = tryOut(containment);
    if (trouble === undefined) return { containment, refused };
    refused.push(`${containment.name}: ${trouble}`);
  }
  throw new Error(`cannot contain a program here; ${refused.join("; ")}`);
}

/** Runs `true` in it. Returns what does not work. */
function tryOut(containment: Containment): string | undefined {
  if (process.platform !== "linux") return "needs Linux";
  if (containment !== cgroup && !showsThisNamespace()) return "/proc is that of another pid namespace";
  try {
    const enclosure = containment.enclose(`try-${process.pid}`, "");
    const [file = "", ...args] = containment.wrap(["true"], enclosure);
    const { status, stderr, error } = spawnSync(file, args, { encoding: "utf8", timeout: 5_000 });
    if (enclosure.cgroup !== undefined) new Killing(enclosure).clear();
    if (error !== undefined) return error.message;
    return status === 0 ? undefined : stderr.trim().split("\n")[0] || `ended with ${status}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
