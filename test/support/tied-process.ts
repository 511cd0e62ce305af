import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

export interface TiedProcessOptions {
  readonly cwd?: string | undefined;
  /** The whole environment of the child; this process's own by default. */
  readonly env?: NodeJS.ProcessEnv | undefined;
}

/**
 * Starts a child that does not outlive this process, however it ends: by an `exit`
 * hook, and where `setpriv` of util-linux is there, by the kernel, which also covers a
 * SIGKILL of the test process. `setpriv` execs, so the child's pid is the command's own.
 */
export function spawnTied(
  command: string,
  args: readonly string[],
  { cwd, env = process.env }: TiedProcessOptions = {},
): ChildProcess {
  const [file, ...rest] = setpriv === undefined ? [command] : [setpriv, "--pdeathsig", "KILL", "--", command];
  const child = spawn(file as string, [...rest, ...args], { cwd, env, stdio: ["pipe", "pipe", "pipe"] });
  if (alive.size === 0) process.once("exit", killAll);
  alive.add(child);
  child.once("exit", () => forget(child));
  child.once("error", () => forget(child));
  return child;
}

/** The children of this test process that run now. */
export function tiedProcessIds(): number[] {
  return [...alive].map((child) => child.pid).filter((pid) => pid !== undefined);
}

const alive = new Set<ChildProcess>();

const { PATH: searchPath = "" } = process.env;
const setpriv = searchPath
  .split(delimiter)
  .map((folder) => join(folder, "setpriv"))
  .find((file) => process.platform === "linux" && isExecutable(file));

function forget(child: ChildProcess): void {
  alive.delete(child);
  if (alive.size === 0) process.removeListener("exit", killAll);
}

function killAll(): void {
  for (const child of alive) child.kill("SIGKILL");
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
