import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** A command that cannot be run, with the exit code that shells have for it. */
export interface Unusable {
  /** 127: there is no such command. 126: it is there and cannot be run. */
  readonly code: 126 | 127;
  readonly why: string;
}

/** Looks a command up as shells do. Returns what is wrong, or `undefined`. */
export function unusableCommand(command: string, env: NodeJS.ProcessEnv): Unusable | undefined {
  const { PATH: path = "/usr/local/bin:/usr/bin:/bin" } = env;
  const files = command.includes("/") ? [command] : path.split(delimiter).map((each) => join(each, command));
  const found = command === "" ? [] : files.filter((file) => statSync(file, { throwIfNoEntry: false }));
  if (found.some(isExecutable)) return undefined;
  if (found.length === 0) return { code: 127, why: "command not found" };
  return { code: 126, why: "not executable" };
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}
