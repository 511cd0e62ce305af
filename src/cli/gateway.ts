import { checkElection } from "../concurrency/naming.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { MetricsServer } from "../metrics/metrics-server.ts";
import { Gateway } from "../traffic/gateway.ts";
import { checkGateway, type GatewaySettings } from "../traffic/gateway-options.ts";
import { onAbort } from "../waiting.ts";
import type { Arguments } from "./arguments.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { contact } from "./contact.ts";
import { GatewayTeller } from "./gateway-events.ts";
import { Outages } from "./outages.ts";
import { countOrZeroOf, listenAddressOf, millisecondsOf } from "./settings.ts";
import { asUsage, UsageError } from "./usage-error.ts";

/** After its connections have drained the command has so long to end. */
const endMs = 2_000;

export const gateway: Command = {
  name: "gateway",
  usage: ["gateway ELECTION --listen HOST:PORT"],
  about: [
    "Passes TCP connections on to whoever leads an election, whatever protocol they speak. It stands in no election and holds no lease: any number of gateways may run beside each other.",
    "While nobody leads, new connections wait, for --hold-ms at most, and go to the successor. A leader that hands over lets its connections end by themselves, for --drain-ms; those to a leader that was lost are reset. Nothing is passed on when etcd has not confirmed the leader for --max-stale-ms.",
    "The leader is reached at the address that it tells, else at the one in its id (name:host:port or host:port); --target says otherwise, as {host}:8080 does where the service has a port of its own.",
    "SIGTERM or Ctrl-C: it takes no more connections, waits until those that there are have ended, for --drain-ms at most, and exits with 0.",
    [
      "With --json each line is an object of this form:",
      '  {"event":"open","election":"/merc","leader":"a:10.0.0.1:8080","token":12,',
      '   "address":"10.0.0.1:8080","why":null,"time":"2030-01-01T00:00:00.000Z"}',
      "event is listening, metrics, open, wait, error or stats; why says why they wait:",
      "starting, stale, no-leader, handover or no-address. The last has the counters.",
    ].join("\n"),
  ],
  flags: {
    listen: { value: "HOST:PORT", help: "where to take connections; port 0 takes a free one" },
    target: { value: "TEMPLATE", help: "where the leader's service is (default: {host}:{port})" },
    "max-stale-ms": {
      value: "N",
      help: "how old the last read that confirmed the leader may be (default: half of its TTL)",
    },
    "hold-ms": { value: "N", help: "how long a new connection waits for a leader (default: 30000)" },
    "hold-connections": { value: "N", help: "how many wait at a time (default: 4096)" },
    "drain-ms": { value: "N", help: "how long connections have to end by themselves (default: 10000)" },
    "connect-ms": { value: "N", help: "for one attempt to reach the leader (default: 2000)" },
    "silent-ms": { value: "N", help: "report a leader that has not answered for so long (default: 10000)" },
    "answer-ms": {
      value: "N",
      help: "reset a connection to a leader that has not answered for so long (default: never)",
    },
    metrics: { value: "HOST:PORT", help: "where to answer GET /metrics for Prometheus (default: nowhere)" },
    "proxy-protocol": { help: "tell the leader the client's address by PROXY protocol v2" },
    ...timeoutFlag,
    ...etcdFlags,
  },
  examples: [
    ["gateway /merc --listen 0.0.0.0:80", "the service of /merc, on port 80 of this machine"],
    ["gateway /merc --listen 127.0.0.1:5432 --target {host}:5432", "where the service has another port"],
    ["gateway /merc --listen 0.0.0.0:80 --metrics 127.0.0.1:9101", "with metrics for Prometheus"],
    ["gateway /merc --listen [::]:443 --proxy-protocol", "a service that wants to know its clients"],
  ],
  run: forward,
};

async function forward(context: Context): Promise<number> {
  const { arguments: args, output, stop } = context;
  const [election] = args.take(["ELECTION"]);
  asUsage(() => checkElection(election));
  const settings = settingsOf(args, election);
  const metricsAddress =
    args.value("metrics") === undefined ? undefined : listenAddressOf(args, "", "metrics");
  const etcd = await contact(context);
  const teller = new GatewayTeller(context, election);
  const outages = new Outages(etcd, teller);
  let metrics: MetricsServer | undefined;
  try {
    const opened = await open(etcd, settings, context);
    if (metricsAddress !== undefined)
      metrics = await MetricsServer.open({ ...metricsAddress, source: opened });
    const { maxConnections } = opened;
    teller.listening(opened.address);
    if (metrics !== undefined) teller.metrics(metrics.address);
    if (maxConnections !== undefined && maxConnections < 10_000)
      output.say(`the limit of open files allows ${maxConnections} connections at a time (see ulimit -n)`);
    const telling = teller.follow(opened);
    stop.patienceMs = checkGateway({ ...settings, etcd }).drainMs + endMs;
    await new Promise<void>((resolve) => onAbort(stop.signal, resolve));
    const { open: left, waiting } = opened.stats;
    if (left + waiting > 0) output.say(`waiting for ${left + waiting} connections to end`);
    await opened.close();
    await telling;
    teller.end(opened);
    return 0;
  } finally {
    outages.stop();
    await metrics?.close();
    await etcd.close();
  }
}

function settingsOf(args: Arguments, election: string): GatewaySettings {
  if (args.value("listen") === undefined) throw new UsageError("--listen HOST:PORT is missing");
  const given = {
    ...{ target: args.value("target"), maxStaleMs: millisecondsOf(args, "max-stale-ms") },
    ...{ holdMs: millisecondsOf(args, "hold-ms"), holdConnections: countOrZeroOf(args, "hold-connections") },
    ...{ drainMs: millisecondsOf(args, "drain-ms"), connectMs: millisecondsOf(args, "connect-ms") },
    ...{ silentMs: millisecondsOf(args, "silent-ms"), answerMs: millisecondsOf(args, "answer-ms") },
  };
  const settings = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const proxyProtocol = args.has("proxy-protocol");
  const checked = { ...settings, election, proxyProtocol, ...listenAddressOf(args, "") };
  asUsage(() => checkGateway({ ...checked, endpoints: [""] }));
  return checked;
}

/** The command was right, the machine is not as it should be: no wrong usage. */
async function open(etcd: Etcd, settings: GatewaySettings, { logger }: Context): Promise<Gateway> {
  try {
    return await Gateway.open({ ...settings, etcd, logger });
  } catch (error) {
    const { host, port } = settings;
    const message = error instanceof Error ? error.message : String(error);
    if (message.startsWith("port must be one that nobody listens on"))
      throw new Error(`port ${port} of ${host} is in use; choose another with --listen`, { cause: error });
    throw error;
  }
}
