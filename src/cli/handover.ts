import { checkElection } from "../concurrency/naming.ts";
import { type Handover, handover as handOver } from "../steering/handover.ts";
import { askerOf, byFlag } from "./asker.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { contact } from "./contact.ts";
import { durationText } from "./duration.ts";
import { printable } from "./output.ts";
import { durationMsOf } from "./settings.ts";
import { asUsage, asWrongUsage } from "./usage-error.ts";

const defaultWaitSeconds = 30;

export const handover: Command = {
  name: "handover",
  usage: ["handover ELECTION [--to ID]", "switchover ELECTION [--to ID]"],
  about: [
    "Has the leader hand over: its work stops in good order, its key goes, and the next in line leads. With --to it is the candidate of that id or key: those who stand before it go to the end of the line first. The old leader comes back to the end of the line by itself.",
    "Where it is not possible nothing changes, the reason is printed, and the exit code is 1: nobody stands by, changes are paused, another handover is under way, the candidate is not in line, or somebody would have to be passed over who is no member of Succession with details and so would not come back.",
    "Ctrl-C withdraws the request; one that the leader has accepted is carried out.",
  ],
  flags: {
    to: { value: "ID", help: "id or key of who is to lead (default: the next in line)" },
    wait: {
      value: "SECONDS",
      help: `how long to wait for the successor (default: ${defaultWaitSeconds})`,
    },
    ...byFlag,
    ...timeoutFlag,
    ...etcdFlags,
  },
  examples: [
    ["handover /merc", "to the next in line"],
    ["handover /merc --to b:10.0.1.1:8080", "to that member"],
    ["switchover /merc --to b:10.0.1.1:8080 --json", "the same, for scripts"],
  ],
  ends: true,
  run: runHandover,
};

async function runHandover(context: Context): Promise<number> {
  const { arguments: args, output, stop } = context;
  const [election] = args.take(["ELECTION"]);
  asUsage(() => checkElection(election));
  const to = args.value("to");
  const timeoutMs = durationMsOf(args, "wait", defaultWaitSeconds);
  const etcd = await contact(context);
  try {
    const by = askerOf(args);
    const asked = to === undefined ? {} : { to };
    const done = await handOver(etcd, election, { ...asked, by, timeoutMs, signal: stop.signal }).catch(
      asWrongUsage,
    );
    const missed = to !== undefined && done.to.id !== to && done.to.key !== to;
    if (args.has("json")) output.json(asJson(election, done, to));
    else output.print(asText(election, done));
    if (missed) output.say(`succession handover: ${printable(to)} went away in the last moment`);
    return missed ? 1 : 0;
  } finally {
    await etcd.close();
  }
}

function asJson(election: string, done: Handover, asked: string | undefined): object {
  const { from, to, passed, accepted, durationMs } = done;
  return {
    ...{ event: "handover", election, from: from.id, leader: to.id, asked: asked ?? null },
    ...{ tokenBefore: from.token, token: to.token, passed, accepted },
    ...{ durationMs: Math.round(durationMs), time: new Date().toISOString() },
  };
}

function asText(election: string, { from, to, passed, accepted, durationMs }: Handover): string {
  const name = printable(to.id);
  const lines = [
    `${name} leads ${printable(election)} now, after ${printable(from.id)}: token ${from.token} -> ${to.token}, ${durationText(durationMs)}`,
  ];
  if (passed.length > 0) {
    lines.push(`passed over, and back at the end of the line: ${passed.map(printable).join(", ")}`);
  }
  if (!accepted) lines.push(`${printable(from.id)} had failed or left before it answered`);
  return lines.join("\n");
}
