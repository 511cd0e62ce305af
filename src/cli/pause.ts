import { checkElection } from "../concurrency/naming.ts";
import { Observer } from "../concurrency/observer.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { pause as pauseElection, resume as resumeElection } from "../steering/pause.ts";
import { askerOf, byFlag } from "./asker.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { contact } from "./contact.ts";
import { durationMsIn, durationText } from "./duration.ts";
import { printable } from "./output.ts";
import { asUsage, asWrongUsage, UsageError } from "./usage-error.ts";

export const pause: Command = {
  name: "pause",
  usage: ["pause ELECTION --reason TEXT [--for DURATION]"],
  about: [
    "Holds the leader still: until succession resume, or for --for, no change of leader is chosen, be it a handover, a switch-back, a demotion for bad health or a reordering by priority. A leader that dies is replaced all the same, and a member may leave.",
    "--for is the life of a lease in etcd: no clocks are compared, and an outage of etcd prolongs it.",
  ],
  flags: {
    reason: { value: "TEXT", help: "why, shown to everybody who looks" },
    for: { value: "DURATION", help: "such as 90s, 15m or 2h (default: until resume)" },
    replace: { help: "take the place of a pause that there is already" },
    ...byFlag,
    ...timeoutFlag,
    ...etcdFlags,
  },
  examples: [
    ['pause /merc --for 2h --reason "database upgrade"', "for two hours at most"],
    ['pause /merc --reason "database upgrade"', "until succession resume /merc"],
  ],
  ends: true,
  run: runPause,
};

export const resume: Command = {
  name: "resume",
  usage: ["resume ELECTION"],
  about: ["Ends a pause, whoever asked for it. Where there is none that is said, and is no error."],
  flags: { ...timeoutFlag, ...etcdFlags },
  examples: [["resume /merc", "changes of leader may be chosen again"]],
  ends: true,
  run: runResume,
};

async function runPause(context: Context): Promise<number> {
  const { arguments: args, output } = context;
  const [election] = args.take(["ELECTION"]);
  asUsage(() => checkElection(election));
  const reason = args.value("reason");
  if (reason === undefined) throw new UsageError("--reason is missing");
  const length = args.value("for");
  const forMs = length === undefined ? undefined : durationMsIn(length, "--for");
  return await steer(context, async (etcd, signal) => {
    const paused = await pauseElection(etcd, election, {
      ...{ reason, by: askerOf(args), replace: args.has("replace"), signal },
      ...(forMs === undefined ? {} : { forMs }),
    }).catch(asWrongUsage);
    const leader = await leaderOf(etcd, election, signal);
    const { remainingMs = null } = paused;
    if (args.has("json")) {
      output.json({ event: "paused", election, ...paused, remainingMs, ...leader.json, time: now() });
      return;
    }
    const until = remainingMs === null ? "until succession resume" : `for ${durationText(remainingMs)}`;
    output.print(`${printable(election)} is paused ${until}: ${printable(reason)}; ${leader.text}`);
  });
}

async function runResume(context: Context): Promise<number> {
  const { arguments: args, output } = context;
  const [election] = args.take(["ELECTION"]);
  asUsage(() => checkElection(election));
  return await steer(context, async (etcd, signal) => {
    const ended = await resumeElection(etcd, election, { signal });
    const leader = await leaderOf(etcd, election, signal);
    if (args.has("json")) {
      output.json({ event: "resumed", election, ended: ended ?? null, ...leader.json, time: now() });
      return;
    }
    const name = printable(election);
    if (ended === undefined) output.print(`${name} was not paused; ${leader.text}`);
    else {
      const { reason, since, by } = ended;
      const who = by === undefined ? "" : ` by ${printable(by)}`;
      const told = `${printable(reason)}, since ${printable(since)}${who}`;
      output.print(`${name} is paused no more (${told}); ${leader.text}`);
    }
  });
}

/** Runs a task with a client, until Ctrl-C. */
async function steer(
  context: Context,
  task: (etcd: Etcd, signal: AbortSignal) => Promise<void>,
): Promise<number> {
  const etcd = await contact(context);
  try {
    await task(etcd, context.stop.signal);
    return 0;
  } finally {
    await etcd.close();
  }
}

async function leaderOf(
  etcd: Etcd,
  election: string,
  signal: AbortSignal,
): Promise<{ readonly text: string; readonly json: object }> {
  const leader = await new Observer(etcd, election).leader({ signal });
  if (leader === undefined) return { text: "nobody leads", json: { leader: null, token: null } };
  const { id, token } = leader;
  return { text: `${printable(id)} leads, token ${token}`, json: { leader: id, token } };
}

function now(): string {
  return new Date().toISOString();
}
