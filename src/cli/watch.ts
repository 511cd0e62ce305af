import { checkElection } from "../concurrency/naming.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { followOverview, type OverviewItem } from "../overview/follow.ts";
import type { Overview } from "../overview/overview.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { contact } from "./contact.ts";
import { shown } from "./line-table.ts";
import { oneLine } from "./one-line.ts";
import type { Output } from "./output.ts";
import { asUsage } from "./usage-error.ts";
import { eventsBetween, observed, type WatchEvent } from "./watch-events.ts";
import { WatchScreen } from "./watch-screen.ts";
import { eventText } from "./watch-text.ts";

export const watch: Command = {
  name: "watch",
  usage: ["watch ELECTION [ELECTION…]"],
  about: [
    "Follows elections until Ctrl-C. On a terminal it shows the line of succession, what is left of the leases, a pause, a handover under way and the latest terms on the whole screen. Elsewhere it prints a line for each event.",
    "Through an outage of etcd it waits, says so, and shows how things stand when etcd is back. Only if etcd cannot be reached at the start does it give up, after --timeout.",
    [
      "With --json each line is an object of this form:",
      '  {"event":"leader","election":"/merc","id":"b","leader":"b","token":18,',
      '   "cause":null,"time":"2030-01-01T00:00:00.000Z"}',
      "event is observed (how it stands: at first, after an outage, and when nobody",
      "leads), candidate, left, leader, ended (with the cause), paused, resumed,",
      "handover or error; id is of whom it tells; leader and token are the present",
      "leader's, but an ended term's token is its own.",
    ].join("\n"),
  ],
  flags: { ...timeoutFlag, ...etcdFlags },
  examples: [
    ["watch /merc", "on a terminal, the whole screen"],
    ["watch /merc /orders | tee -a elections.log", "a line for each event"],
    ["watch /merc --json | jq -r 'select(.event==\"ended\").cause'", "why terms end, for scripts"],
  ],
  run: runWatch,
};

async function runWatch(context: Context): Promise<number> {
  const { arguments: args, output } = context;
  const elections = [...new Set(args.positionals)];
  if (elections.length === 0) args.take(["ELECTION"]);
  for (const election of elections) asUsage(() => checkElection(election));
  const live = output.looks.live && !args.has("json");
  const etcd = await contact(context);
  try {
    await (live ? onScreen(context, etcd, elections) : byLines(context, etcd, elections));
    return 0;
  } finally {
    await etcd.close();
  }
}

/** As often as the eye can follow. */
const screenEveryMs = 100;

async function onScreen(
  { output, stop: { signal } }: Context,
  etcd: Etcd,
  elections: readonly string[],
): Promise<void> {
  const screen = new WatchScreen(etcd, output, elections);
  screen.open();
  try {
    await eachOf(elections, async (election) => {
      for await (const item of followOverview(etcd, election, { signal, everyMs: screenEveryMs })) {
        screen.told(election, item);
      }
    });
  } finally {
    screen.close();
  }
}

async function byLines(
  { arguments: args, output, stop: { signal } }: Context,
  etcd: Etcd,
  elections: readonly string[],
): Promise<void> {
  await eachOf(elections, async (election) => {
    const lines = new Lines(output, args.has("json"), election);
    for await (const item of followOverview(etcd, election, { signal })) lines.told(item);
  });
}

/** All at once; the first that fails ends all. */
async function eachOf(
  elections: readonly string[],
  task: (election: string) => Promise<void>,
): Promise<void> {
  await Promise.all(elections.map(task));
}

/** An election as lines, one for each event. */
class Lines {
  readonly #output: Output;
  readonly #json: boolean;
  readonly #election: string;
  #known: Overview | undefined;
  #stale = false;

  constructor(output: Output, json: boolean, election: string) {
    this.#output = output;
    this.#json = json;
    this.#election = election;
  }

  told(item: OverviewItem): void {
    const { overview, skipped } = item;
    if (skipped > 0)
      this.#output.say(`${skipped} changes of ${shown(this.#election)} came too fast to be told`);
    if (item.at === "stale" && !this.#stale) {
      const message = `waiting for etcd: ${oneLine(item.error)}`;
      const nobody = { election: this.#election, id: null, leader: null, token: null };
      this.#print({ event: "error", ...nobody, cause: item.error.code, message });
    }
    if (overview !== undefined) {
      if (this.#known !== undefined)
        for (const event of eventsBetween(this.#known, overview)) this.#print(event);
      if (this.#known === undefined || (this.#stale && item.at === "current"))
        this.#print(observed(overview));
      this.#known = overview;
    }
    this.#stale = item.at === "stale";
  }

  #print(event: WatchEvent): void {
    const now = new Date();
    if (this.#json) this.#output.json({ ...event, time: now.toISOString() });
    else {
      const time = now.toLocaleTimeString("sv-SE");
      this.#output.print(`${time}  ${shown(this.#election)}  ${eventText(event)}`);
    }
  }
}
