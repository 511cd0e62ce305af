/**
 * A service of one or more guarded members, for tests that kill, block and stop it. It says on standard output what
 * becomes of it, with instants of the host's monotonic clock. On standard input it takes `join OPTIONS` (JSON),
 * `leave ID`, `exit` and `block MS`: it then holds the event loop, and says every few milliseconds that it acts.
 */
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { Member } from "succession";

const now = () => Number(process.hrtime.bigint() / 1_000n) / 1_000;
const say = (text) => writeSync(1, `${text}\n`);
const shown = (_name, value) => (typeof value === "bigint" ? String(value) : value);
const print =
  (level) =>
  ({ why, error }, message) =>
    say(`${level}: ${message} ${why ?? error?.message ?? ""}`);
const logger = { debug() {}, info() {}, warn: print("warn"), error: print("error") };
const members = new Map();

async function join(options) {
  const lead = (term) =>
    new Promise((stop) => {
      say(`leads ${options.id} ${now()}`);
      term.signal.addEventListener("abort", stop);
    });
  const member = await Member.join({ guardian: true, logger, lead, ...options });
  members.set(options.id, member);
  say(`joined ${options.id}`);
  for await (const { role, cause } of member.changes())
    say(JSON.stringify({ id: options.id, role, cause }, shown));
}

async function leave(id) {
  await members.get(id).leave();
  say(`left ${id}`);
}

function block(ms) {
  say("blocked");
  const until = now() + ms;
  for (let next = now(); now() < until; ) {
    if (now() < next) continue;
    say(`acts ${now()}`);
    next = now() + 2;
  }
  say("awake");
}

for await (const line of createInterface(process.stdin)) {
  const space = line.indexOf(" ");
  const [command, rest] = space < 0 ? [line, ""] : [line.slice(0, space), line.slice(space + 1)];
  if (command === "join") void join(JSON.parse(rest));
  if (command === "leave") void leave(rest);
  if (command === "block") block(Number(rest));
  if (command === "exit") process.exit(3);
}
