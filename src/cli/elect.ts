import { checkElection, checkValue } from "../concurrency/naming.ts";
import { Observer } from "../concurrency/observer.ts";
import { Member } from "../member/member.ts";
import { onAbort } from "../waiting.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { ttlSecondsOf } from "./connection.ts";
import { contact } from "./contact.ts";
import { Teller } from "./election-events.ts";
import { Hindrance } from "./hindrance.ts";
import { Outages } from "./outages.ts";
import { asUsage } from "./usage-error.ts";

const defaultTtlSeconds = 10;

/** A resignation gets so long before the process ends; the key then ends with its lease. */
const leaveTimeoutMs = 1_500;

export const elect: Command = {
  name: "elect",
  usage: ["elect ELECTION ID", "elect --listen ELECTION"],
  about: [
    "Stands in an election as ID until Ctrl-C, and says what becomes of it: like etcdctl's command of the same name it prints the key and the value when it leads, and the changes of its role besides. A candidacy that is lost is taken up again. Ctrl-C resigns.",
    "With --listen it observes instead: every leader's key and value, one after the other.",
    "Through an outage of etcd it waits. Only if etcd cannot be reached at the start does it give up, after --timeout.",
    [
      "With --json each line is an object of this form:",
      '  {"event":"candidate","election":"/merc","id":"a","leader":"b","token":12,',
      '   "cause":null,"time":"2030-01-01T00:00:00.000Z"}',
      "event is candidate, leader, standby, observed or error; leader and token are the",
      "present leader's; cause says why a role was lost.",
    ].join("\n"),
  ],
  flags: {
    listen: { short: "l", help: "observe the election and do not stand in it" },
    ttl: {
      value: "SECONDS",
      help: `until a candidate lost without a word is replaced (default: ${defaultTtlSeconds})`,
    },
    ...timeoutFlag,
    ...etcdFlags,
  },
  examples: [
    ["elect /merc a:10.0.0.1:8080", "stand in the election /merc"],
    ["elect --listen /merc", "follow who leads"],
    ["elect /merc a --ttl 5 --json", "role changes for a program to read"],
  ],
  run: (context) => (context.arguments.has("listen") ? observe(context) : standIn(context)),
};

async function standIn(context: Context): Promise<number> {
  const { arguments: args, env, output, stop } = context;
  const [election, id] = args.take(["ELECTION", "ID"]);
  asUsage(() => checkElection(election));
  asUsage(() => checkValue("id", id, 1));
  const ttlSeconds = ttlSecondsOf(args, env, defaultTtlSeconds);
  const teller = new Teller(output, args.has("json"), election, id);
  const etcd = await contact(context);
  const outages = new Outages(etcd, teller);
  const hindrance = new Hindrance(context.logger, teller, () => outages.current);
  const { logger } = hindrance;
  try {
    const member = await Member.join({ etcd, election, id, ttlSeconds, logger, signal: stop.signal });
    onAbort(stop.signal, () => void member.leave({ timeoutMs: leaveTimeoutMs }));
    for await (const change of member.changes()) {
      if (change.phase === "waiting") hindrance.over();
      teller.changed(change);
    }
    await member.leave();
    if (outages.current)
      output.say(`etcd cannot be reached; the key ends with its lease, within ${ttlSeconds} s`);
    return 0;
  } finally {
    outages.stop();
    await etcd.close();
  }
}

async function observe(context: Context): Promise<number> {
  const { arguments: args, output, stop } = context;
  const [election] = args.take(["ELECTION"]);
  asUsage(() => checkElection(election));
  const teller = new Teller(output, args.has("json"), election, undefined);
  const etcd = await contact(context);
  const outages = new Outages(etcd, teller);
  try {
    const observer = new Observer(etcd, election);
    for await (const leader of observer.observe({ signal: stop.signal })) teller.observed(leader);
    return 0;
  } finally {
    outages.stop();
    await etcd.close();
  }
}
