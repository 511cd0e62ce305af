import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { Load } from "./load.ts";

const program = fileURLToPath(new URL("guarded-service.mjs", import.meta.url));

interface Running {
  readonly child: Child;
  readonly port: number;
  readonly healthPort: number;
}

/** Starts a service and waits until it stands in the line, with a server that accepts. */
async function run(name: string, election: string, ttlSeconds: number, endpoint: string): Promise<Running> {
  const child = Child.start({ args: [program, name, election, `${ttlSeconds}`, endpoint] });
  const [, port, healthPort] = (await child.waitFor("serves", 60_000)).split(" ");
  return { child, port: Number(port), healthPort: Number(healthPort) };
}

/** Who leads; rejects while nobody does. */
async function leaderOf(services: readonly Running[]): Promise<Running> {
  for (const service of services) if (await leads(service)) return service;
  throw new Error("nobody leads");
}

async function leads({ healthPort }: Running): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${healthPort}/leader`, { headers: { connection: "close" } });
  return answer.status === 200;
}

/** A token, and an instant on the clock that all processes of the machine share, from a line that says both. */
function tokenAndInstant(line: string): readonly [bigint, bigint] {
  const [, token, at] = / (\d+) \w+ (\d+)$/.exec(line) ?? [];
  return [BigInt(token ?? 0), BigInt(at ?? 0)];
}

const { LONG_TESTS: long } = process.env;
/** Each starts and ends a process, which takes its time. */
const rounds = long === "1" ? 20 : 2;

const binary = realEtcds.at(-1);

describe.skipIf(binary === undefined)("guarded services on real etcd", () => {
  let etcd: EtcdServer;
  beforeAll(async () => {
    if (binary !== undefined) etcd = await EtcdServer.start({ binary });
  });
  afterAll(() => etcd.close());

  test(`hand over ${rounds} times under load, on kept and on new connections, without a failed request`, async () => {
    const services: Running[] = [];
    // Long, so that a machine with other things to do does not lose a lease: nothing here waits for it.
    const start = async (): Promise<void> => {
      services.push(await run(`s${started++}`, "/load", 40, etcd.endpoint));
    };
    let started = 0;
    while (started < 3) await start();
    await eventually(() => leaderOf(services), { timeoutMs: 10_000 });
    const load = new Load({ ports: () => services.map(({ port }) => port), perSecond: 200 });
    const ended: Child[] = [];
    for (let round = 0; round < rounds; round++) {
      await start();
      const leader = await leaderOf(services);
      leader.child.signal("SIGTERM");
      // A balancer takes a moment to see it, so for a while new connections go to the one that is leaving.
      await leader.child.waitFor("left", 30_000);
      services.splice(services.indexOf(leader), 1);
      ended.push(leader.child);
      await eventually(() => leaderOf(services), { timeoutMs: 10_000 });
    }
    await load.stop();
    // A failure is explained by what its member has said.
    expect([load.failures, ended.map(({ stderr }) => stderr).join("")]).toEqual([[], ""]);
    for (const child of ended) expect(await child.exit).toEqual({ code: 0, signal: null });
    const names = new Set([...load.bodies.keys()].map((body) => JSON.parse(body).name as string));
    expect(names.size).toBeGreaterThanOrEqual(rounds);
    await Promise.all(services.map(({ child }) => child.kill()));
  }, 1_200_000);

  test("that are cut off from etcd stop serving before the successor starts", async () => {
    const proxy = await TcpProxy.start({ target: etcd.endpoint });
    const cut = await run("cut", "/cut", 2, proxy.endpoint);
    await cut.child.waitFor("leads", 10_000);
    const other = await run("other", "/cut", 2, etcd.endpoint);
    const load = new Load({ ports: () => [cut.port, other.port], perSecond: 100 });
    await eventually(() => expect(load.answered).toBeGreaterThan(20));
    await proxy.blackHole();
    const [, end] = tokenAndInstant(await cut.child.waitFor("served", 10_000));
    const [, start] = tokenAndInstant(await other.child.waitFor("leads", 10_000));
    expect(start).toBeGreaterThan(end);
    const before = load.answered;
    // What comes to the one that is cut off it cannot pass on: it does not know to whom.
    await eventually(() => expect(load.answered).toBeGreaterThan(before + 20), { timeoutMs: 10_000 });
    await proxy.heal();
    await load.stop();
    // Nobody was answered by the old leader after the new one had begun.
    const late = cut.child.lines.filter((line) => line.startsWith("served")).map(tokenAndInstant);
    for (const [, at] of late) expect(at).toBeLessThan(start);
    await Promise.all([cut.child.kill(), other.child.kill()]);
    await proxy.close();
  });
});
