import { writeSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { createInterface } from "node:readline";
import { type ClockOrigin, SystemClock } from "../clock.ts";
import { sleep } from "../waiting.ts";
import type { Enclosure } from "./enclosure.ts";
import { Killing } from "./killing.ts";
import { type ShimOrder, shimReady } from "./shim-protocol.ts";

/**
 * The process beside the supervisor that kills the program when the supervisor cannot: it was killed (the pipe ends), or
 * it is stopped or hangs (the deadline passes without a new one). It leads a session of its own, so that what hits the
 * supervisor's group does not hit it, and it ends with the pipe.
 */

/** How often it looks at the clock while there is a deadline: a machine that slept must not be found out late. */
const lookMs = 50;
/** A program that was being started when the supervisor died may show itself only now. */
const settleMs = 250;
/** What cannot be killed for so long hangs in the kernel; waiting for it helps nobody. */
const patienceMs = 60_000;

for (const name of ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE"] as const)
  process.on(name, () => {});
// Whatever else fights for the processor; not everybody may ask for that.
attempt(() => setPriority(constants.priority.PRIORITY_HIGH));

const clock = new SystemClock(JSON.parse(process.argv[2] ?? "") as ClockOrigin);
let held: Enclosure | undefined;
let until: number | null = null;

const orders = createInterface({ input: process.stdin });
orders.on("line", (line) => obey(JSON.parse(line) as ShimOrder));
orders.once("close", () => void finish());
process.stdin.on("error", () => {});
watch();
attempt(() => writeSync(1, `${shimReady}\n`));

function obey(order: ShimOrder): void {
  if (order.on === "hold") held = order.enclosure;
  if (order.on === "release") held = undefined;
  until = order.on === "hold" ? order.until : order.on === "until" ? order.instant : null;
}

function watch(): void {
  clock.at(clock.now() + lookMs, () => {
    // A later deadline may wait in the pipe, if this process was the slow one: that is read first.
    if (isDue()) setImmediate(enforce);
    watch();
  });
}

function isDue(): boolean {
  return held !== undefined && until !== null && clock.now() >= until;
}

function enforce(): void {
  if (held === undefined || !isDue()) return;
  say("the supervisor did not act in time; killing the program");
  void new Killing(held).finish(clock);
  // What it is told next is about another term.
  until = null;
}

async function finish(): Promise<void> {
  if (held === undefined) process.exit(0);
  say("the supervisor is gone; killing the program");
  const end = clock.now() + patienceMs;
  const killing = new Killing(held);
  for (let emptySince = clock.now(); clock.now() - emptySince < settleMs; ) {
    if (!killing.step()) emptySince = clock.now();
    if (clock.now() > end) break;
    await sleep(clock, 10);
  }
  killing.clear();
  process.exit(0);
}

function say(message: string): void {
  // Nobody may be left to read it, or not fast enough.
  attempt(() => writeSync(2, `succession run: ${message}\n`));
}

function attempt(task: () => void): void {
  try {
    task();
  } catch {
    // As well without.
  }
}
