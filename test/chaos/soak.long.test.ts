import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { describe, expect, test } from "vitest";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { now } from "./actor.ts";
import { say } from "./fault.ts";

const { SOAK_MINUTES: minutes = "1.5" } = process.env;
const soakMs = Number(minutes) * 60_000;
const members = 20;
const elections = 4;
const ttlMs = 2_000;
/** Caches fill and code is compiled: the heap counts from here on. */
const warmUpMs = Math.min(soakMs / 3, 120_000);
const heapEveryMs = 5_000;
const bytesEachMax = 1_000;

const program = fileURLToPath(new URL("soaking-members.mjs", import.meta.url));
const binary = realEtcds.at(-1);

/** The process with all the members. */
class Soaked {
  readonly child: Child;

  constructor(endpoint: string) {
    const options = JSON.stringify({ endpoints: [endpoint], members, elections });
    const env = { ...process.env, OPTIONS: options };
    this.child = Child.start({ args: ["--expose-gc", program], env, keepInputOpen: true });
  }

  /** Sends a command and returns its answer. */
  async ask<Answer>(command: string, timeoutMs = 120_000): Promise<Answer> {
    const from = this.child.lines.length;
    this.child.write(`${command}\n`);
    const line = await this.child.waitFor(`{"${command}"`, timeoutMs, { from });
    return JSON.parse(line)[command];
  }

  /** Resolves when everybody stands in line again, to how many restarts there were. */
  async rest(): Promise<number> {
    const { missing, restarts } = await this.ask<{ missing: string[]; restarts: number }>("rest");
    expect(missing).toEqual([]);
    return restarts;
  }
}

/** What etcd holds for its clients. */
async function heldBy(server: EtcdServer): Promise<{ leases: number; watchers: number }> {
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const watchers = Number(/^etcd_debugging_mvcc_watcher_total (\d+)$/m.exec(metrics)?.[1]);
  const [, ...leases] = (await server.etcdctl("lease", "list")).split("\n");
  return { leases: leases.length, watchers };
}

/** One trouble after another, in turn; each is over when it resolves. */
/** What is held for a while after its use, such as a connection. */
const lingersMs = 120_000;

const troubles: readonly ((proxy: TcpProxy, server: EtcdServer) => Promise<void>)[] = [
  ...Array.from({ length: 8 }, () => async (proxy: TcpProxy) => proxy.resetAll()),
  async (proxy) => {
    await proxy.refuse();
    proxy.resetAll();
    await setTimeout(200);
    await proxy.heal();
  },
  async (proxy) => {
    await proxy.blackHole();
    await setTimeout(2 * ttlMs);
    proxy.resetAll();
    await proxy.heal();
  },
  async (proxy) => {
    proxy.halfOpen("toClient");
    await setTimeout(ttlMs / 2);
    await proxy.heal();
  },
  async (_proxy, server) => await server.restart(),
];

/** Bytes that the heap grows by with every reconnection or restart: the slope of the straight line through all points. */
function slope(points: readonly { readonly count: number; readonly heap: number }[]): number {
  const mean = (of: (point: (typeof points)[number]) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [count, heap] = [mean((point) => point.count), mean((point) => point.heap)];
  const covariance = mean((point) => (point.count - count) * (point.heap - heap));
  return covariance / mean((point) => (point.count - count) ** 2);
}

describe.skipIf(binary === undefined)(`a process with ${members} members, for ${minutes} minutes`, () => {
  test(
    "leaks nothing over reconnections and restarts, here or in etcd",
    async () => {
      if (binary === undefined) return;
      await using server = await EtcdServer.start({ binary });
      await using proxy = await TcpProxy.start({ target: server.endpoint });
      const soaked = new Soaked(proxy.endpoint);
      await using _child = soaked.child;
      /** Everybody in line, nothing under way, and nothing held for those who were here before. */
      const quiet = async (): Promise<object> => {
        await soaked.rest();
        await eventually(async () => expect((await heldBy(server)).leases).toBe(members), {
          timeoutMs: 60_000,
        });
        return {
          here: await soaked.ask("measure"),
          connections: proxy.openConnections,
          ...(await heldBy(server)),
        };
      };
      // What a client keeps for good it has after its first use.
      await soaked.ask("join");
      await soaked.ask("leave");
      const empty = await soaked.ask("measure");
      await soaked.ask("join");
      // For some seconds members see to it that the term that has begun is recorded.
      await setTimeout(6_000);
      const before = await quiet();

      const accepted = proxy.acceptedConnections;
      const points: { count: number; heap: number }[] = [];
      const startedAt = now();
      let restarts = 0;
      let heapAt = startedAt + warmUpMs;
      for (let turn = 0; now() - startedAt < soakMs; turn++) {
        soaked.child.write(`restart ${turn % members}\n`);
        await troubles[turn % troubles.length]?.(proxy, server);
        await setTimeout(400);
        if (now() < heapAt) continue;
        heapAt += heapEveryMs;
        restarts = await soaked.rest();
        const { heap } = await soaked.ask<{ heap: number }>("heap");
        points.push({ count: proxy.acceptedConnections - accepted + restarts, heap });
      }

      // What lingers for a while is no leak.
      const until = now() + lingersMs;
      let after = await quiet();
      while (!isDeepStrictEqual(after, before) && now() < until) {
        await setTimeout(1_000);
        after = await quiet();
      }
      await soaked.ask("leave");
      const emptyAgain = await soaked.ask("measure");
      const reconnections = proxy.acceptedConnections - accepted;
      const each = slope(points);
      say(
        `soaked for ${((now() - startedAt) / 60_000).toFixed(1)} minutes: ${reconnections} connections made anew, ` +
          `${restarts} members restarted; heap ${each.toFixed(0)} bytes each, ` +
          `${((points.at(-1)?.heap ?? 0) / 1e6).toFixed(1)} MB in the end`,
      );
      say(`before: ${JSON.stringify(before)}\nafter:  ${JSON.stringify(after)}`);
      expect(after).toEqual(before);
      expect(emptyAgain).toEqual(empty);
      expect(each).toBeLessThan(bytesEachMax);
      expect(reconnections + restarts).toBeGreaterThan((soakMs / 60_000) * 100);
      expect(soaked.child.lines.filter((line) => line.startsWith('{"warning"'))).toEqual([]);
      await soaked.ask("end");
      expect(await soaked.child.exit).toEqual({ code: 0, signal: null });
      await eventually(async () => expect(await heldBy(server)).toEqual({ leases: 0, watchers: 0 }));
    },
    soakMs + 600_000,
  );
});
