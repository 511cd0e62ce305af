import { write } from "node:fs";
import { constants, setPriority } from "node:os";
import { createInterface } from "node:readline";
import { systemClock as clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { sleep } from "../waiting.ts";
import { Charges } from "./charges.ts";
import { type GuardianOrder, type GuardianWord, guardianBeatMs, serviceBeatMs } from "./protocol.ts";
import { Silence } from "./silence.ts";

/**
 * The process beside a service that gives back its leases as soon as it is dead, and kills it when it hangs. It is a child
 * of the service, in a session of its own, so that what hits the service's group does not hit it.
 *
 * That the service is dead, with all of its threads, is the kernel's word: only then this process gets another parent.
 * It is no question of the pipe between the two, which may end a moment earlier, nor of a process id, which may be
 * used again. Nothing is given back before that.
 */

/** How often it looks whether the service lives. */
const lookMs = 25;
/** What cannot be killed for so long hangs in the kernel; by then its leases end by themselves. */
const patienceMs = 60_000;
/** How long the last words may take: nobody may read them any more. */
const lastWordsMs = 50;

for (const name of ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE"] as const)
  process.on(name, () => {});
attempt(() => setPriority(constants.priority.PRIORITY_HIGH));

const service = Number(process.argv[2]);
const isDead = (): boolean => process.ppid !== service;
const warn = (fields: { error?: unknown }, message: string): void =>
  tell({ on: "warning", message, why: String(fields.error ?? "") });
const logger: Logger = { debug() {}, info() {}, warn, error: warn };
const charges = new Charges(clock, logger);
const silence = new Silence(clock.now());
let ending = false;

const orders = createInterface({ input: process.stdin });
orders.on("line", (line) => {
  silence.heard();
  if (line !== "") obey(JSON.parse(line) as GuardianOrder);
});
orders.once("close", () => void end("it is dead"));
for (const stream of [process.stdin, process.stdout]) stream.on("error", () => {});
setInterval(look, lookMs);
setInterval(() => say("\n"), guardianBeatMs);
tell({ on: "ready" });

function obey(order: GuardianOrder): void {
  if (order.do === "hold") charges.hold(order.charge);
  else charges.drop(order.leaseId);
}

function look(): void {
  silence.look(clock.now());
  if (ending) return;
  if (isDead()) void end("it is dead");
  // Signs of life may wait in the pipe, if this process was the slow one: they are read first.
  else if (isSilent()) setImmediate(killIfSilent);
}

/** The last sign of life may have come a whole beat before the silence began. */
function isSilent(): boolean {
  return silence.ms >= charges.hangAfterMs + serviceBeatMs;
}

function killIfSilent(): void {
  if (ending || !isSilent() || isDead()) return;
  attempt(() => process.kill(service, "SIGKILL"));
  void end(`its event loop gave no sign of life for ${Math.round(silence.ms)} ms and it was killed`);
}

/** The service is dead, or about to be. */
async function end(why: string): Promise<void> {
  if (ending) return;
  ending = true;
  const until = clock.now() + patienceMs;
  for (let pauseMs = 1; !isDead() && clock.now() < until; pauseMs = Math.min(2 * pauseMs, 20))
    await sleep(clock, pauseMs);
  if (charges.isEmpty) exit();
  const given = isDead() && (await charges.giveBack());
  const outcome = given ? "its place is given back" : "its place ends with the lease";
  write(2, `succession: the guardian of process ${service}: ${why}; ${outcome}\n`, exit);
  await sleep(clock, lastWordsMs);
  exit();
}

/** Not by `process.exit`, which waits for a write that nobody reads. */
function exit(): void {
  process.kill(process.pid, "SIGKILL");
}

function tell(word: GuardianWord): void {
  say(`${JSON.stringify(word)}\n`);
}

function say(text: string): void {
  if (process.stdout.writableLength === 0) process.stdout.write(text);
}

function attempt(task: () => void): void {
  try {
    task();
  } catch {
    // As well without.
  }
}
