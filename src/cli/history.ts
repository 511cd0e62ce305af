import { checkElection, metaFolder } from "../concurrency/naming.ts";
import type { TermRecord } from "../member/term-record.ts";
import type { Overview } from "../overview/overview.ts";
import { readOverview } from "../overview/read.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { contact } from "./contact.ts";
import { shown } from "./line-table.ts";
import { countOf, durationMsOf } from "./settings.ts";
import { table } from "./table.ts";
import { termHead, termRow } from "./term-table.ts";
import { asUsage } from "./usage-error.ts";

const defaultLimit = 20;

export const history: Command = {
  name: "history",
  usage: ["history ELECTION"],
  about: [
    "Shows the terms of an election, the newest first: token, leader, zone, start, end, why it ended, and how long nobody had led before. Members of Succession record them; the newest 200 are kept.",
    "Start and end are by the clock of the machine that wrote them. The gap is what one machine measured, from seeing the end of the term before to the start of this one: the time for which a dead leader's lease was waited for is part of that leader's term.",
  ],
  flags: {
    limit: { value: "N", help: `how many terms at most (default: ${defaultLimit})` },
    ...timeoutFlag,
    ...etcdFlags,
  },
  examples: [
    ["history /merc", "the last 20 terms"],
    ["history /merc --limit 200 --json | jq -r .cause", "why all terms ended, for scripts"],
  ],
  ends: true,
  run: showHistory,
};

async function showHistory(context: Context): Promise<number> {
  const { arguments: args, output, stop } = context;
  const [election] = args.take(["ELECTION"]);
  asUsage(() => checkElection(election));
  const mostTerms = countOf(args, "limit") ?? defaultLimit;
  const timeoutMs = durationMsOf(args, "timeout", 5);
  const etcd = await contact(context);
  try {
    const found = await readOverview(etcd, election, { mostTerms, timeoutMs, signal: stop.signal });
    if (!found.complete) {
      output.say(`succession history: no right to read the terms below ${shown(metaFolder(election))}`);
      return 1;
    }
    const terms = withPresent(found).slice(0, mostTerms);
    if (args.has("json")) for (const term of terms) output.json(termJson(found, term));
    else if (terms.length > 0)
      output.print(table([termHead, ...terms.map((term) => termRow(term, found.leader?.token))]));
    if (terms.length === 0) output.say(`no term of ${shown(election)} is recorded`);
    return 0;
  } finally {
    await etcd.close();
  }
}

/** The present term is one of them, also while its record is still to come. */
function withPresent({ leader, terms }: Overview): readonly TermRecord[] {
  if (leader === undefined || terms.some(({ token }) => token === leader.token)) return terms;
  const { token, id, zone } = leader;
  return [{ token, leader: id, ...(zone === undefined ? {} : { zone }) }, ...terms];
}

function termJson({ election, leader }: Overview, term: TermRecord): object {
  const { token, zone, startedAt, endedAt, cause, gapMs } = term;
  return {
    ...{ election, token, leader: term.leader, zone: zone ?? null, startedAt: startedAt ?? null },
    ...{ endedAt: endedAt ?? null, cause: cause ?? null, gapMs: gapMs ?? null },
    leads: token === leader?.token,
  };
}
