import { checkElection } from "../concurrency/naming.ts";
import { type CallOptions, Etcd } from "../etcd/etcd.ts";
import { detailsPrefix } from "../member/details.ts";
import { listElections } from "../overview/elections.ts";
import { leaseTimes } from "../overview/lease-times.ts";
import type { Overview } from "../overview/overview.ts";
import { readOverview } from "../overview/read.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { connectionOf } from "./connection.ts";
import { type LeaseTimes, leaderText, lineHead, lineRows, notesOf } from "./line-table.ts";
import { printable } from "./output.ts";
import { durationMsOf } from "./settings.ts";
import { statusJson } from "./status-json.ts";
import { table } from "./table.ts";
import { asUsage } from "./usage-error.ts";

export const status: Command = {
  name: "status",
  usage: ["status [ELECTION…]"],
  about: [
    "Shows who leads an election and the line of succession: the candidates in the order in which they succeed each other, the leader first, then witnesses, with what is left of their leases; a pause and a handover under way, too. What members tell of themselves (zone, priority, address, version, health, start) is shown where they may store it.",
    "Without ELECTION it shows every election in which such a member stands. One whose candidates are etcdctl's or Go programs' alone is shown when it is named.",
  ],
  flags: { ...timeoutFlag, ...etcdFlags },
  examples: [
    ["status /merc", "who leads /merc, and who is next"],
    ["status --json | jq -r .leader.id", "the leader of each election, for scripts"],
    ["status /merc --endpoints https://10.0.0.1:2379 --cacert ca.pem", "in a cluster with TLS"],
  ],
  ends: true,
  run: showStatus,
};

async function showStatus(context: Context): Promise<number> {
  const { arguments: args, env, output, stop, logger } = context;
  const named = args.positionals;
  for (const election of named) asUsage(() => checkElection(election));
  const timeoutMs = durationMsOf(args, "timeout", 5);
  const attemptTimeoutMs = Math.min(2_000, timeoutMs);
  const etcd = new Etcd({ ...connectionOf(args, env), logger, attemptTimeoutMs });
  const limits: CallOptions = { timeoutMs, signal: stop.signal };
  try {
    await etcd.ready(limits);
    const names = named.length === 0 ? await listElections(etcd, limits) : named;
    for (const [at, name] of names.entries()) {
      const found = await readOverview(etcd, name, limits);
      if (!found.complete) {
        output.say(
          `succession status: no right to read members' details below ${printable(detailsPrefix(name))}`,
        );
      }
      const times = await leaseTimes(etcd, leasesOf(found), { timeoutMs, signal: stop.signal });
      if (args.has("json")) output.json(statusJson(found, times));
      else output.print(`${at === 0 ? "" : "\n"}${asText(found, times)}`);
    }
    if (names.length === 0) {
      output.say(
        "no member of Succession stands in any election; succession status ELECTION shows one by name",
      );
    }
    return 0;
  } finally {
    await etcd.close();
  }
}

function leasesOf({ line, witnesses, pause }: Overview): readonly bigint[] {
  return [...line, ...witnesses, ...(pause === undefined ? [] : [pause])].map(({ leaseId }) => leaseId);
}

function asText(overview: Overview, times: LeaseTimes): string {
  const lines = [leaderText(overview), ...notesOf(overview, times).map((note) => `  ${note}`)];
  const rows = lineRows(overview, times);
  return [...lines, ...(rows.length === 0 ? [] : [table([lineHead, ...rows])])].join("\n");
}
