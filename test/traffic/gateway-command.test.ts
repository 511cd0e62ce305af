import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { Gateway } from "../../src/traffic/gateway.ts";
import { cleanEnv, execute, main, succession } from "../cli/succession.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { Child } from "../support/processes.ts";
import { Client, NamedService } from "./tcp.ts";

let server: DevServer;
let etcd: Etcd;

beforeAll(async () => {
  server = await DevServer.start();
  etcd = new Etcd({ endpoints: [server.endpoint] });
});
afterAll(async () => {
  await etcd.close();
  await server.close();
});

/** A process starts slowly on a busy machine. */
const startMs = 60_000;

const start = (election: string, ...args: string[]): Child =>
  succession(["gateway", election, "--listen", "127.0.0.1:0", "--endpoints", server.endpoint, ...args]);

/** The first JSON line of this event. */
async function told(child: Child, event: string): Promise<Record<string, unknown>> {
  const line = await child.waitFor((each) => JSON.parse(each).event === event, startMs);
  return JSON.parse(line) as Record<string, unknown>;
}

describe("the gateway command", () => {
  test("tells where connections go, and on SIGTERM drains and ends well", { timeout: 90_000 }, async () => {
    await using service = await NamedService.start("one");
    await etcd.put("/command/1", `a:${service.address}`);
    const settings = ["--json", "--drain-ms", "60000", "--metrics", "127.0.0.1:0"];
    await using child = start("/command", ...settings);
    const { address } = await told(child, "listening");
    const { address: url } = await told(child, "metrics");
    const metrics = url as string;
    expect(await told(child, "open")).toEqual({
      ...{ event: "open", election: "/command", leader: `a:${service.address}`, token: expect.any(Number) },
      ...{ address: service.address, why: null, time: expect.any(String) },
    });
    using client = new Client(address as string);
    await client.sees("hello from one");
    const text = await (await fetch(metrics)).text();
    expect(text).toContain('succession_gateway_connections_open{election="/command"} 1\n');
    expect((await fetch(metrics, { method: "POST" })).status).toBe(405);
    // What its clients feel is told without asking for it.
    const [refusing] = await freePorts(1);
    await etcd.put("/command/1", `a:127.0.0.1:${refusing}`);
    await child.waitFor(`127.0.0.1:${refusing}`, startMs);
    using refused = new Client(address as string);
    await child.waitForError("cannot connect to the leader", startMs);
    refused.socket.resetAndDestroy();
    const held = 'succession_gateway_connections_held{election="/command"}';
    await eventually(async () => expect(await (await fetch(metrics)).text()).toContain(`${held} 0\n`));
    child.signal("SIGTERM");
    await child.waitForError("waiting for 1 connections to end", startMs);
    client.write("still here");
    await client.sees("one: still here");
    client.socket.end();
    expect(await child.exit).toEqual({ code: 0, signal: null });
    expect(await told(child, "stats")).toMatchObject({
      accepted: 2,
      forwarded: 1,
      broken: 0,
      cutByDrainEnd: 0,
    });
  });

  test("serves on its port again at once after it was killed", { timeout: 120_000 }, async () => {
    await using service = await NamedService.start("one");
    await etcd.put("/again/1", `a:${service.address}`);
    const [port] = await freePorts(1);
    const args = ["gateway", "/again", "--listen", `127.0.0.1:${port}`, "--endpoints", server.endpoint];
    await using killed = succession(args);
    await killed.waitFor("open: a:", startMs);
    using before = new Client(`127.0.0.1:${port}`);
    await before.sees("hello from one");
    await killed.kill();
    await before.end();
    await using next = succession(args);
    await next.waitFor("open: a:", startMs);
    using after = new Client(`127.0.0.1:${port}`);
    await after.sees("hello from one");
  });

  test.each<[string, string[], RegExp]>([
    ["no place to listen", ["gateway", "/merc"], /--listen HOST:PORT is missing/],
    [
      "a template that names no port",
      ["--target", "{host}"],
      /--target must be a template such as \{host\}:8080/,
    ],
    ["a time that is none", ["--hold-ms", "soon"], /--hold-ms must be a number of milliseconds, got "soon"/],
    [
      "a time too short",
      ["--max-stale-ms", "5"],
      /--max-stale-ms must be a number of milliseconds, 300 or more/,
    ],
    [
      "a count that is none",
      ["--hold-connections", "-1"],
      /--hold-connections must be an integer of 0 or more/,
    ],
  ])("names %s as wrong usage", { timeout: 60_000 }, async (_title, args, says) => {
    const listen = args[0] === "gateway" ? [] : ["gateway", "/merc", "--listen", "127.0.0.1:0"];
    const { code, stderr } = await execute([...listen, ...args]);
    expect([code, stderr]).toEqual([2, expect.stringMatching(says)]);
  });

  test("names a port in use, and that is no wrong usage", { timeout: 60_000 }, async () => {
    await using service = await NamedService.start("one");
    const args = ["gateway", "/merc", "--listen", service.address, "--endpoints", server.endpoint];
    const { code, stderr } = await execute(args);
    expect([code, stderr]).toEqual([
      1,
      `succession gateway: port ${service.port} of 127.0.0.1 is in use; choose another with --listen`,
    ]);
  });

  test.runIf(process.platform === "linux")(
    "warns of a low limit of open files, and takes no more connections than that allows",
    { timeout: 90_000 },
    async () => {
      await using service = await NamedService.start("one");
      await etcd.put("/limit/1", `a:${service.address}`);
      const command = [process.execPath, main, "gateway", "/limit", "--listen", "127.0.0.1:0", "--json"];
      const limited = ["-c", 'ulimit -n 264; exec "$0" "$@"', ...command, "--endpoints", server.endpoint];
      await using child = Child.start({ command: "sh", args: limited, env: cleanEnv() });
      const { address } = await told(child, "listening");
      await child.waitForError("the limit of open files allows 100 connections at a time", startMs);
      const clients = Array.from({ length: 100 }, () => new Client(address as string));
      for (const client of clients) await client.sees("hello from one");
      using more = new Client(address as string);
      expect(["end", "ECONNRESET"]).toContain(await more.end());
      for (const client of clients) client.socket.end();
      for (const client of clients) await client.end();
      using again = new Client(address as string);
      await again.sees("hello from one");
    },
  );
});

test("2000 idle connections stand through a gateway", { timeout: 120_000 }, async () => {
  await using service = await NamedService.start("one");
  await etcd.put("/idle/1", `a:${service.address}`);
  const gateway = await Gateway.open({ etcd, election: "/idle", port: 0 });
  const clients: Client[] = [];
  while (clients.length < 2_000) {
    const some = Array.from({ length: 100 }, () => new Client(gateway.address));
    clients.push(...some);
    await Promise.all(some.map((client) => once(client.socket, "data")));
  }
  expect(gateway.stats).toMatchObject({ open: 2_000, waiting: 0, forwarded: 2_000, broken: 0 });
  clients[0]?.write("first");
  clients[1_999]?.write("last");
  await clients[0]?.sees("one: first");
  await clients[1_999]?.sees("one: last");
  for (const client of clients) client.socket.destroy();
  await eventually(() => expect(gateway.stats.open).toBe(0), { timeoutMs: 20_000 });
  await gateway.close();
});
