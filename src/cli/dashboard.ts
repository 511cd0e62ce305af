import { checkElection } from "../concurrency/naming.ts";
import { checkDashboard, type DashboardOptions } from "../dashboard/options.ts";
import { onAbort } from "../waiting.ts";
import type { Arguments } from "./arguments.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { contact } from "./contact.ts";
import { dashboardTokenOf } from "./dashboard-token.ts";
import { openDashboard } from "./open-dashboard.ts";
import { Outages } from "./outages.ts";
import { type Env, listenAddressOf } from "./settings.ts";
import { asUsage } from "./usage-error.ts";

const defaultAddress = "127.0.0.1:8200";

export const dashboard: Command = {
  name: "dashboard",
  usage: ["dashboard [--election ELECTION …] [--token-file FILE]"],
  about: [
    "Serves a page that shows elections live: who leads, the line of succession with what is left of each lease, pauses, who led when, and how long changes of leader took.",
    "Without --election it shows every election in which a member of Succession stands. One whose candidates are etcdctl's or Go programs' alone is shown when it is named.",
    "The page is read-only until there is a token, in a file or in SUCCESSION_DASHBOARD_TOKEN: who types it into the page may hand over, pause and resume. Who reaches the page can read it. It speaks plain HTTP: for other machines put it behind a proxy with TLS, and name the proxy's host by --allow-host.",
  ],
  flags: {
    listen: {
      value: "HOST:PORT",
      help: `where to serve; port 0 takes a free one (default: ${defaultAddress})`,
    },
    election: { value: "ELECTION", help: "show this one; may be repeated (default: all)" },
    "token-file": { value: "FILE", help: "its content, 16 characters or more, is the token for steering" },
    "allow-host": { value: "NAME", help: "browsers may call the page by this name, too; may be repeated" },
    ...timeoutFlag,
    ...etcdFlags,
  },
  examples: [
    ["dashboard", "everything, read-only, at http://127.0.0.1:8200/"],
    ["dashboard --election /merc --token-file /etc/succession/token", "one election, to be steered"],
    ["dashboard --listen 10.0.0.9:8200 --allow-host failover.example.org", "behind a proxy of this name"],
  ],
  run: serve,
};

async function serve(context: Context): Promise<number> {
  const { arguments: args, env, output, stop, logger } = context;
  args.take([]);
  const settings = settingsOf(args, env);
  const etcd = await contact(context);
  const outages = new Outages(etcd, {
    trouble: (_code, message) => output.say(message),
    relief: (message) => output.say(message),
  });
  try {
    const opened = await openDashboard({ ...settings, etcd, logger }, "--listen");
    const steering = settings.token !== undefined;
    const time = new Date().toISOString();
    if (args.has("json")) output.json({ event: "listening", url: opened.url, steering, time });
    else {
      const how = steering ? "to be steered with the token" : "read-only; --token-file allows steering";
      output.print(`dashboard at ${opened.url} (${how})`);
    }
    await new Promise<void>((resolve) => onAbort(stop.signal, resolve));
    await opened.close();
    return 0;
  } finally {
    outages.stop();
    await etcd.close();
  }
}

function settingsOf(args: Arguments, env: Env): Omit<DashboardOptions, "etcd"> {
  const elections = args.values("election");
  for (const election of elections ?? []) asUsage(() => checkElection(election), { election: "--election" });
  const { token, source } = dashboardTokenOf(args, env) ?? {};
  const settings = {
    ...listenAddressOf(args, defaultAddress),
    ...(elections === undefined ? {} : { elections }),
    ...(token === undefined ? {} : { token }),
    allowHosts: args.values("allow-host") ?? [],
  };
  asUsage(() => checkDashboard(settings), { token: source ?? "", allowHosts: "--allow-host" });
  return settings;
}
