import { checkElection } from "../concurrency/naming.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { connectionOf, ttlSecondsOf } from "./connection.ts";
import { examine } from "./doctor/examination.ts";
import { type Finding, type Level, levels } from "./doctor/finding.ts";
import { printable } from "./output.ts";
import { countOrZeroOf, durationMsOf } from "./settings.ts";
import { type Style, styleFor } from "./style.ts";
import { asUsage, UsageError } from "./usage-error.ts";

const defaultClockSeconds = 3;

export const doctor: Command = {
  name: "doctor",
  usage: ["doctor [ELECTION]"],
  about: [
    "Examines a cluster and its elections, and says what to do: endpoints, members and their raft leader, releases with known faults, alarms, round trips and commits, whether the TTL suits them, whether the clock of this machine runs as fast as etcd's, the user's rights, what was left behind, and whether the store went back.",
    "Run it where a member runs, as the user that the member is. It changes nothing but a few leases of its own, which it gives back; so with ELECTION it also tells whether a user may stand there who never did. Without ELECTION it looks at every election in which a member of Succession stands.",
    "Each finding is ok, advice, warning or problem. The exit code is 0 unless there is a problem.",
    [
      "With --json each line is an object of this form, and the last one the summary:",
      '  {"event":"finding","level":"warning","check":"TTL","what":"…","todo":"…"}',
      '  {"event":"summary","ok":7,"advice":1,"warning":1,"problem":0}',
    ].join("\n"),
  ],
  flags: {
    ttl: { value: "SECONDS", help: "the TTL that the members use (default: 10)" },
    "clock-seconds": {
      value: "N",
      help: `for how long to compare the clocks; 0 for not at all (default: ${defaultClockSeconds})`,
    },
    ...timeoutFlag,
    ...etcdFlags,
  },
  examples: [
    ["doctor /merc", "before the first member stands, and when something is odd"],
    ["doctor /merc --ttl 5 --user merc --password-file pw", "with the TTL and as the user of the members"],
    ["doctor --json | jq 'select(.level == \"problem\")'", "for scripts"],
  ],
  ends: true,
  run: runDoctor,
};

async function runDoctor(context: Context): Promise<number> {
  const { arguments: args, env, output, stop, logger } = context;
  const election = args.positionals.length === 0 ? undefined : args.take(["ELECTION"])[0];
  if (election !== undefined) asUsage(() => checkElection(election));
  const clockSeconds = countOrZeroOf(args, "clock-seconds") ?? defaultClockSeconds;
  if (clockSeconds > 3_600) throw new UsageError(`--clock-seconds must be at most 3600, got ${clockSeconds}`);
  const findings = examine({
    ...{ connection: connectionOf(args, env), logger, election, clockSeconds },
    ...{ ttlSeconds: ttlSecondsOf(args, env, 10), timeoutMs: durationMsOf(args, "timeout", 5) },
    signal: stop.signal,
  });
  const counts: Record<Level, number> = { ok: 0, advice: 0, warning: 0, problem: 0 };
  const style = styleFor(output.looks);
  for await (const finding of findings) {
    counts[finding.level]++;
    const { level, check, what, todo = null } = finding;
    if (args.has("json")) output.json({ event: "finding", level, check, what, todo });
    else output.print(asText(finding, style));
  }
  if (args.has("json")) output.json({ event: "summary", ...counts });
  else output.print(summary(counts));
  return counts.problem === 0 ? 0 : 1;
}

function asText({ level, check, what, todo }: Finding, { good, bad, bold }: Style): string {
  const paint = level === "ok" ? good : level === "advice" ? bold : bad;
  const line = `${paint(level.padEnd(7))}  ${check.padEnd(9)}  ${printable(what)}`;
  return todo === undefined ? line : `${line}\n${" ".repeat(20)}-> ${printable(todo)}`;
}

function summary(counts: Record<Level, number>): string {
  const named = levels.filter((level) => counts[level] > 0).map((level) => `${counts[level]} ${level}`);
  return named.join(", ");
}
