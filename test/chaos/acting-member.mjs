/**
 * A member in a process of its own, for the chaos tests. While it leads it acts in short steps, as a careful user does:
 * it asks the term before every act. Each act goes to the file LEDGER at once, so that the record outlives a SIGKILL;
 * every state goes to standard output. Instants are milliseconds of the host's monotonic clock, one for all processes.
 *
 * On standard input it takes `join`; `block MS`: it then holds the event loop, and goes on acting as long as the term
 * stands; `hang MS`: the same without asking the term, as code does that hangs.
 */
import { once } from "node:events";
import { openSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { Member } from "succession";

const stepMs = 5;
const ledger = openSync(process.env.LEDGER, "a");
const now = () => Number(process.hrtime.bigint() / 1_000n) / 1_000;
const shown = (_name, value) =>
  typeof value === "bigint" ? String(value) : value instanceof Error ? value.message : value;
const warn = (fields, message) => process.stderr.write(`${message} ${JSON.stringify(fields, shown)}\n`);
/** The tests wait for this: only from here on does a blocked event loop cost nothing. */
const debug = (fields, message) => message.startsWith("the renewal thread renews") && warn(fields, message);
const logger = { debug, info() {}, warn, error: warn };

let current;

function record(term, at) {
  writeSync(ledger, `${term.token} ${at}\n`);
}

function act(term) {
  // Taken before asking: what still stands when asked stood at this instant.
  const at = now();
  if (term.signal.aborted || term.remainingMs <= 0) return false;
  record(term, at);
  return true;
}

async function lead(term) {
  current = term;
  while (act(term)) await setTimeout(stepMs);
  if (!term.signal.aborted) await once(term.signal, "abort");
}

function block(ms, each) {
  const until = now() + ms;
  for (let next = now(); next < until; next += stepMs) {
    if (current !== undefined) each(current);
    while (now() < next);
  }
}

async function join() {
  const member = await Member.join({ ...JSON.parse(process.env.OPTIONS), lead, logger });
  for await (const { role, phase, leader, term, cause } of member.changes()) {
    const state = { at: now(), role, phase, leader: leader?.id, token: term?.token, cause };
    process.stdout.write(`${JSON.stringify(state, shown)}\n`);
  }
}

for await (const line of createInterface(process.stdin)) {
  const [command, ms] = line.split(" ");
  if (command === "join") void join();
  if (command === "block") block(Number(ms), act);
  // Code that hangs began while it led.
  if (command === "hang" && current !== undefined && act(current))
    block(Number(ms), (term) => record(term, now()));
}
