import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { childIds, type ProcessEntry, processEntry } from "../../src/supervisor/process-table.ts";
import { succession } from "../cli/succession.ts";
import { eventually } from "../support/eventually.ts";
import type { Child, ChildOptions } from "../support/processes.ts";

/** What `run --json` says, a line of standard error. */
export interface RunEvent {
  readonly event: string;
  readonly message: string;
  readonly token?: number | null;
  readonly cause?: string | null;
  readonly pid?: number;
}

export interface RunOptions extends Partial<Omit<ChildOptions, "args" | "command">> {
  readonly endpoint: string;
  readonly flags?: readonly string[];
}

/** Starts `succession run ELECTION FLAGS -- COMMAND`, with messages as JSON. */
export function startRun(
  election: string,
  command: readonly string[],
  { endpoint, flags = [], ...options }: RunOptions,
): Child {
  const args = [
    "run",
    election,
    "--json",
    "--endpoints",
    endpoint,
    "--ttl",
    "10",
    ...flags,
    "--",
    ...command,
  ];
  // What the member went through is wanted when a test fails.
  return succession(args, { ...options, env: { SUCCESSION_LOG_LEVEL: "info", ...options.env } });
}

/** The messages so far; what the program itself wrote is not JSON. */
export function runEvents(child: Child): readonly RunEvent[] {
  return child.stderr
    .split("\n")
    .filter((line) => line.startsWith('{"event"'))
    .map((line) => JSON.parse(line) as RunEvent);
}

/** The nth message of a kind. */
export async function runEvent(child: Child, event: string, nth = 1): Promise<RunEvent> {
  return await eventually(
    () => {
      const found = runEvents(child).filter((each) => each.event === event)[nth - 1];
      expect(found, `no ${event} in ${child.stderr}`).toBeDefined();
      return found as RunEvent;
    },
    { timeoutMs: 60_000 },
  );
}

export interface Descendant extends ProcessEntry {
  readonly name: string;
  readonly command: string;
}

/** All processes below this one. */
export function descendants(pid: number): readonly Descendant[] {
  return childIds(pid).flatMap((child) => {
    try {
      const name = readFileSync(`/proc/${child}/comm`, "utf8").trim();
      const command = readFileSync(`/proc/${child}/cmdline`, "utf8").replaceAll("\0", " ");
      const entry = processEntry(child);
      return entry === undefined ? [] : [{ ...entry, name, command }, ...descendants(child)];
    } catch {
      return [];
    }
  });
}
