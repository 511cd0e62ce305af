import { randomBytes } from "node:crypto";
import type { Dashboard } from "../dashboard/dashboard.ts";
import { DevServer } from "../devserver/dev-server.ts";
import { Etcd } from "../etcd/etcd.ts";
import { silentLogger } from "../log.ts";
import { defaultMetaPrefix } from "../member/details.ts";
import { Gateway } from "../traffic/gateway.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { type Connection, connectionOf, ttlSecondsOf } from "./connection.ts";
import { openDemoDashboard } from "./demo/dashboard.ts";
import { play } from "./demo/play.ts";
import { instant } from "./demo/protocol.ts";
import { DemoRecord, exitCodeOf } from "./demo/record.ts";
import { Show } from "./demo/show.ts";
import { Stage } from "./demo/stage.ts";
import { countOf, durationMsOf } from "./settings.ts";
import { Stopped } from "./stop.ts";

/** Short, so that there is something to see; a real cluster needs time for its own elections. */
const embeddedTtlSeconds = 2;
const clusterTtlSeconds = 5;
const everySeconds = 4;
/** What is left in a real cluster is removed in this time; else it ends with its leases. */
const cleanUpMs = 1_000;

export const demo: Command = {
  name: "demo",
  usage: ["demo [--rounds N] [--endpoints LIST]"],
  about: [
    "Starts three members of one election as processes of their own, dc1 to dc3, each a small HTTP service that answers only while it leads, a gateway that passes connections on to the leader, and a client that sends it steady requests. Every few seconds it takes the leader away, in turn by SIGKILL (a crash) and by asking it to leave (a handover), and starts it again: watch the next in line take over.",
    "At the end it shows every term, and whether there ever were two leaders at once, by what each member recorded of itself. Exit code 1 if there were.",
    "On a terminal it also serves the dashboard, whose address it tells. With SUCCESSION_DASHBOARD_TOKEN set, that token allows steering from there.",
    "It needs no etcd: it brings a store of its own, on a free port of this machine. Only --endpoints leads to a real cluster; it uses an election of its own there and removes it at the end.",
  ],
  flags: {
    rounds: { value: "N", help: "end after N failovers (default: until Ctrl-C)" },
    every: { value: "SECONDS", help: `quiet time before each failover (default: ${everySeconds})` },
    ttl: {
      value: "SECONDS",
      help: `until a crashed leader is replaced (default: ${embeddedTtlSeconds}, with --endpoints ${clusterTtlSeconds})`,
    },
    dashboard: {
      value: "HOST:PORT",
      help: "where to show the same in a browser (default: a free port of this machine, on a terminal)",
    },
    ...timeoutFlag,
    ...etcdFlags,
    endpoints: { value: "LIST", help: "use this etcd instead of the embedded store" },
  },
  examples: [
    ["demo", "watch failovers until Ctrl-C"],
    ["demo --rounds 2 --json", "a crash and a handover, and a summary as JSON"],
    ["demo --endpoints 10.0.0.1:2379,10.0.1.1:2379,10.0.2.1:2379", "the same on a real cluster"],
  ],
  run: perform,
};

async function perform(context: Context): Promise<number> {
  const { arguments: args, env, logger } = context;
  args.take([]);
  const rounds = countOf(args, "rounds");
  const everyMs = durationMsOf(args, "every", everySeconds);
  const timeoutMs = durationMsOf(args, "timeout", 5);
  if (args.has("endpoints")) {
    const ttlSeconds = ttlSecondsOf(args, env, clusterTtlSeconds);
    const connection = connectionOf(args, env);
    const etcd = new Etcd({ ...connection, logger });
    try {
      await etcd.ready({ timeoutMs, signal: context.stop.signal });
      // Two demonstrations on one cluster are two elections.
      const election = `/succession-demo-${randomBytes(4).toString("hex")}`;
      const store = `etcd at ${etcd.endpoints.join(", ")}`;
      const code = await onStage(context, { etcd, connection, election, ttlSeconds, store, rounds, everyMs });
      await cleanUp(etcd, election);
      return code;
    } finally {
      await etcd.close();
    }
  }
  const ttlSeconds = ttlSecondsOf(args, env, embeddedTtlSeconds);
  const server = await DevServer.start();
  const connection = { endpoints: [server.endpoint] };
  const etcd = new Etcd({ ...connection, logger });
  try {
    const store = "an embedded store";
    return await onStage(context, {
      etcd,
      connection,
      election: "/demo",
      ttlSeconds,
      store,
      rounds,
      everyMs,
    });
  } finally {
    await etcd.close();
    await server.close();
  }
}

async function onStage(
  context: Context,
  of: {
    readonly etcd: Etcd;
    readonly connection: Connection;
    readonly election: string;
    readonly ttlSeconds: number;
    readonly store: string;
    readonly rounds: number | undefined;
    readonly everyMs: number;
  },
): Promise<number> {
  const { arguments: args, output, stop } = context;
  const { etcd, store, ttlSeconds, rounds, everyMs } = of;
  const record = new DemoRecord();
  const show = new Show(output, args.has("json"));
  const tell = (text: string): void => show.tell(text);
  // It is the show that kills its leaders: that one refuses connections is no news.
  const gateway = await Gateway.open({ etcd, election: of.election, port: 0, logger: silentLogger });
  const stage = new Stage({
    ...of,
    gateway: gateway.address,
    title: `succession demo on ${store}, TTL ${ttlSeconds} s`,
    record,
    tell,
  });
  stop.onForced = () => stage.close();
  show.open(stage);
  let end: number;
  let dashboard: Dashboard | undefined;
  try {
    dashboard = await openDemoDashboard(context, etcd, of.election, tell);
    await play(stage, { rounds, everyMs, ttlSeconds, clock: etcd.clock, signal: stop.signal, tell });
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  } finally {
    end = instant();
    stage.close();
    show.close();
    await Promise.all([gateway.close({ drainMs: 0 }), dashboard?.close()]);
  }
  const summary = record.summary(end);
  show.end(stage, summary, end);
  return exitCodeOf(summary);
}

/** Takes the demonstration's keys out of a real cluster: all hang on leases of members that are gone. */
async function cleanUp(etcd: Etcd, election: string): Promise<void> {
  const limits = { timeoutMs: cleanUpMs, signal: AbortSignal.timeout(cleanUpMs) };
  const meta = `${defaultMetaPrefix}${encodeURIComponent(election)}/`;
  try {
    const { kvs } = await etcd.range(`${election}/`, { prefix: true, keysOnly: true, ...limits });
    const leases = new Set(kvs.map((kv) => kv.lease).filter((lease) => lease !== 0n));
    await Promise.all([...leases].map((lease) => etcd.leaseRevoke(lease, limits).catch(() => {})));
    await etcd.delete(meta, { prefix: true, ...limits });
  } catch (error) {
    etcd.logger.warn({ error, election }, "the demo's keys end with their leases");
  }
}
