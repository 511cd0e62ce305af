import { syncBuiltinESMExports } from "node:module";
import os from "node:os";

/** What an operating system shows to a process: two clocks, and its turn. */
export interface Readings {
  monotonicMs(): number;
  bootMs(): number;
  /** Runs `task` in a turn of its own, when what is due by now has had its. */
  soon(task: () => void): void;
}

let current: Readings | undefined;

/**
 * Runs `task` so that `process.hrtime` and `os.uptime` show the simulated clocks of one machine: the product's own clock
 * reads them, and what it makes of them is under test, too. They stay until the next call.
 */
export function within<T>(readings: Readings | undefined, task: () => T): T {
  current = readings;
  return task();
}

/** The same, for no longer than `task` takes. */
export function glance<T>(readings: Readings, task: () => T): T {
  const before = current;
  current = readings;
  try {
    return task();
  } finally {
    current = before;
  }
}

/** Node's own, for whoever runs the simulation. */
export const nextTurn: (task: () => void) => void = setImmediate;

/** Puts the simulated clocks in place of the machine's, for whoever is within; the result takes them away. */
export function installTime(): () => void {
  const { uptime } = os;
  const { bigint } = process.hrtime;
  os.uptime = () => (current === undefined ? uptime() : current.bootMs() / 1_000);
  process.hrtime.bigint = () =>
    current === undefined ? bigint() : BigInt(Math.round(current.monotonicMs() * 1_000)) * 1_000n;
  const soon = (task: () => void): void => (current === undefined ? nextTurn(task) : current.soon(task));
  globalThis.setImmediate = soon as typeof setImmediate;
  syncBuiltinESMExports();
  return () => {
    globalThis.setImmediate = nextTurn as typeof setImmediate;
    os.uptime = uptime;
    process.hrtime.bigint = bigint;
    syncBuiltinESMExports();
  };
}
