import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A process as the kernel shows it. Together `pid` and `startedAt` name it for good: process ids are used again. */
export interface ProcessEntry {
  readonly pid: number;
  /** One letter; `Z` and `X` are dead. */
  readonly state: string;
  readonly group: number;
  readonly session: number;
  /** In clock ticks since boot. */
  readonly startedAt: string;
}

/** Whether the ids in /proc are those that this process would use; false in a namespace without a /proc of its own. */
export function showsThisNamespace(): boolean {
  try {
    return readlinkSync("/proc/self") === String(process.pid);
  } catch {
    return false;
  }
}

/** The ids of all processes that can be seen from here. */
export function processIds(): readonly number[] {
  return readdirSync("/proc").filter(isNumber).map(Number);
}

/** `undefined` where there is no such process. */
export function processEntry(pid: number): ProcessEntry | undefined {
  const stat = read(`/proc/${pid}/stat`);
  // The command's name stands in parentheses and may hold anything.
  const fields = stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, , group, session] = fields ?? [];
  const startedAt = fields?.[19];
  if (state === undefined || startedAt === undefined) return undefined;
  return { pid, state, group: Number(group), session: Number(session), startedAt };
}

/** Whether that very process still exists and is not merely waiting to be reaped. */
export function isAlive({ pid, startedAt }: ProcessEntry): boolean {
  const now = processEntry(pid);
  return now !== undefined && now.startedAt === startedAt && !"ZX".includes(now.state);
}

/** Whether the environment that the process was started with holds this text; false where it may not be read. */
export function environmentHolds(pid: number, text: string): boolean {
  return read(`/proc/${pid}/environ`)?.includes(text) === true;
}

/** The id of a process in the namespace that it lives in. */
export function innerId(pid: number): number | undefined {
  const ids = /^NSpid:\s+(.*)$/m.exec(read(`/proc/${pid}/status`) ?? "")?.[1]?.split(/\s+/);
  return ids === undefined ? undefined : Number(ids.at(-1));
}

/** The ids of the children of a process's main thread. */
export function childIds(pid: number): readonly number[] {
  const ids = read(`/proc/${pid}/task/${pid}/children`) ?? "";
  return ids.split(" ").filter(isNumber).map(Number);
}

const isNumber = (name: string): boolean => /^\d+$/.test(name);

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return undefined;
  }
}
