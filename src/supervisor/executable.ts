import { accessSync, closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";

/** A command that cannot be run, with the exit code that shells have for it. */
export interface Unusable {
  /** 127: there is no such command. 126: it is there and cannot be run. */
  readonly code: 126 | 127;
  readonly why: string;
}

/** What Linux reads of a file to learn what interprets it. */
const headBytes = 256;

/** Looks a command up as shells do. Returns what is wrong, or `undefined`. */
export function unusableCommand(command: string, env: NodeJS.ProcessEnv): Unusable | undefined {
  const { PATH: path = "/usr/local/bin:/usr/bin:/bin" } = env;
  const files = command.includes("/") ? [command] : path.split(delimiter).map((each) => join(each, command));
  const found = command === "" ? [] : files.filter(mayBeThere);
  const file = found.find(isExecutable);
  if (file === undefined && found.length === 0) return { code: 127, why: "command not found" };
  if (file === undefined) return { code: 126, why: "not executable" };
  const interpreter = interpreterOf(file);
  if (interpreter === undefined || mayBeThere(interpreter)) return undefined;
  return { code: 126, why: `its interpreter ${JSON.stringify(interpreter)} is not there` };
}

/** What stands in a folder that may not be looked into counts as there, as it does for execvp. */
function mayBeThere(file: string): boolean {
  try {
    return statSync(file, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/** The program that the first line of a script names; an absolute path. */
function interpreterOf(file: string): string | undefined {
  const head = Buffer.alloc(headBytes);
  try {
    const descriptor = openSync(file, "r");
    try {
      readSync(descriptor, head, 0, headBytes, 0);
    } finally {
      closeSync(descriptor);
    }
  } catch {
    // Programs may be executed without being read.
    return undefined;
  }
  return /^#![ \t]*(\/[^ \t\n\0]*)/.exec(head.toString("latin1"))?.[1];
}
