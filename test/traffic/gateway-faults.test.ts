import { once } from "node:events";
import { connect, createServer, Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Candidate } from "../../src/concurrency/line.ts";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { exposition } from "../../src/metric.ts";
import { Gateway } from "../../src/traffic/gateway.ts";
import type { GatewaySettings } from "../../src/traffic/gateway-options.ts";
import { newCounters } from "../../src/traffic/gateway-stats.ts";
import { Relays } from "../../src/traffic/relays.ts";
import { notebook } from "../member/world.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { Client, NamedService } from "./tcp.ts";

let server: DevServer;
let etcd: Etcd;
let elections = 0;

beforeAll(async () => {
  server = await DevServer.start();
  etcd = new Etcd({ endpoints: [server.endpoint] });
});
afterAll(async () => {
  await etcd.close();
  await server.close();
});

/** An election whose leader is a key that the test puts; it has no lease, so it leads until the test deletes it. */
function newElection() {
  const election = `/faults/${++elections}`;
  const key = `${election}/1`;
  return {
    election,
    lead: (address: string) => etcd.put(key, `a:${address}`),
    fall: () => etcd.delete(key),
  };
}

async function open(
  election: string,
  settings: Partial<GatewaySettings> & { readonly endpoints?: readonly string[] } = {},
) {
  const { logger, said } = notebook();
  const endpoints = [server.endpoint];
  const gateway = await Gateway.open({ endpoints, election, port: 0, drainMs: 0, logger, ...settings });
  const told = (piece: string): number => said.filter(({ message }) => message.includes(piece)).length;
  return { gateway, told, [Symbol.asyncDispose]: () => gateway.close() };
}

/** So many that the connections to etcd, which come and go, do not matter. */
const many = 10;

/** How many TCP connections this process has open. */
const openSockets = (): number =>
  process.getActiveResourcesInfo().filter((each) => each === "TCPSocketWrap").length;

/** Waits until a counter that has begun to grow does so no more. */
async function untilStill(counter: () => number): Promise<void> {
  let before = -1;
  await eventually(
    () => {
      const now = counter();
      const still = now > 0 && now === before;
      before = now;
      expect(still).toBe(true);
    },
    { everyMs: 200, timeoutMs: 20_000 },
  );
}

describe("a gateway that etcd does not answer", () => {
  test("passes nothing on and cuts what there is, and goes on when etcd answers again", async () => {
    const { election, lead } = newElection();
    await using service = await NamedService.start("one");
    await using proxy = await TcpProxy.start({ target: server.endpoint });
    await lead(service.address);
    await using opened = await open(election, { endpoints: [proxy.endpoint], maxStaleMs: 2_000 });
    const { gateway, told } = opened;
    using before = new Client(gateway.address);
    await before.sees("hello from one");
    await proxy.blackHole();
    expect(await before.end()).toBe("ECONNRESET");
    using waiting = new Client(gateway.address);
    waiting.write("x");
    await eventually(() => expect(gateway.stats.waiting).toBe(1));
    expect(service.received).toBe("");
    expect([told("not confirmed any more"), gateway.stats.cutByStaleness]).toEqual([1, 1]);
    await proxy.heal();
    await waiting.sees("one: x");
  });

  test("stops within maxStaleMs of the last answer, which is half of the leader's TTL by itself", async () => {
    const { election } = newElection();
    await using service = await NamedService.start("one");
    await using proxy = await TcpProxy.start({ target: server.endpoint });
    const { ID: lease } = await etcd.leaseGrant(8);
    await etcd.put(`${election}/${lease.toString(16)}`, `a:${service.address}`, { lease });
    await using opened = await open(election, { endpoints: [proxy.endpoint] });
    using client = new Client(opened.gateway.address);
    await client.sees("hello from one");
    // From here on it has four seconds at most; a leader cut off at the same time has five left, and this one eight.
    await etcd.leaseTimeToLive(lease);
    await proxy.blackHole();
    const start = performance.now();
    expect(await client.end()).toBe("ECONNRESET");
    expect(performance.now() - start).toBeLessThan(5_000);
    const { kvs } = await etcd.range(`${election}/`, { prefix: true });
    expect(kvs).toHaveLength(1);
  });
});

test("a connection is counted as cut once, however many changes of a moment say so", () => {
  const { logger } = notebook();
  const relays = new Relays({
    ...{ clock: etcd.clock, logger, counters: newCounters(), drainMs: 0, silentMs: 60_000 },
    ...{ answerMs: undefined, mayPass: () => true, now: () => 0, onGone: () => {} },
  });
  const leader: Candidate = {
    id: "a",
    key: "/e/1",
    token: 1n,
    revision: 1n,
    leaseId: 0n,
    value: new Uint8Array(),
  };
  relays.add(new Socket(), new Socket(), leader, []);
  expect([relays.cutAll(), relays.cutAll()]).toEqual([1, 0]);
  relays.finishAll();
});

describe("a leader that cannot be reached", () => {
  test("and refuses is tried again while clients wait, and told once", async () => {
    const { election, lead } = newElection();
    const [port] = await freePorts(1);
    await lead(`127.0.0.1:${port}`);
    await using opened = await open(election);
    const { gateway, told } = opened;
    using client = new Client(gateway.address);
    client.write("x");
    await eventually(() => expect(gateway.stats.connectFailures).toBeGreaterThan(2));
    expect([client.ended, gateway.stats.waiting, told("cannot connect to the leader")]).toEqual([
      undefined,
      1,
      1,
    ]);
    await using _service = await NamedService.start("late", { port: port as number });
    await client.sees("late: x");
  });

  test("has clients wait for holdMs, no longer", async () => {
    const { election } = newElection();
    await using opened = await open(election, { holdMs: 300 });
    using client = new Client(opened.gateway.address);
    expect(await client.end()).toBe("ECONNRESET");
    expect(opened.gateway.stats).toMatchObject({ accepted: 1, refusedLate: 1, waiting: 0, forwarded: 0 });
  });

  test("has as many clients wait as it may, and sends away one more, told once", async () => {
    const { election, lead } = newElection();
    await using opened = await open(election, { holdConnections: 3 });
    const { gateway, told } = opened;
    const clients: Client[] = [];
    for (let at = 0; at < 5; at++) {
      clients.push(new Client(gateway.address));
      await eventually(() => expect(gateway.stats.accepted).toBe(at + 1));
    }
    expect([await clients[3]?.end(), await clients[4]?.end()]).toEqual(["ECONNRESET", "ECONNRESET"]);
    expect(gateway.stats).toMatchObject({ waiting: 3, refusedFull: 2 });
    expect(told("too many connections wait")).toBe(1);
    await using service = await NamedService.start("one");
    await lead(service.address);
    for (const client of clients.slice(0, 3)) await client.sees("hello from one");
    for (const client of clients) client[Symbol.dispose]();
  });

  test.each([0, 256 * 1_024])(
    "forgets at once clients that send %i bytes and reset while they wait",
    async (bytes) => {
      const { election } = newElection();
      await using opened = await open(election);
      const { gateway } = opened;
      const before = openSockets();
      const clients = Array.from({ length: many }, () => new Client(gateway.address));
      // Of so much not all is read, so that no reading tells that they have gone.
      for (const { socket } of clients) socket.write(Buffer.alloc(bytes));
      await eventually(() => expect(gateway.stats.waiting).toBe(many));
      for (const { socket } of clients) socket.resetAndDestroy();
      await eventually(() => expect(gateway.stats.waiting).toBe(0));
      await eventually(() => expect(openSockets()).toBeLessThan(before + many));
      expect(gateway.stats).toMatchObject({ accepted: many, refusedLate: 0, broken: 0 });
    },
  );

  test("forgets at once clients that reset while it is tried", async () => {
    const { election, lead } = newElection();
    await using proxy = await TcpProxy.start({ target: "127.0.0.1:9" });
    await proxy.blackHole({ accept: false });
    await lead(proxy.endpoint);
    await using opened = await open(election, { connectMs: 60_000 });
    const { gateway } = opened;
    await eventually(() =>
      expect(exposition(gateway.metrics())).toMatch(/^succession_gateway_open\{.*\} 1$/m),
    );
    const before = openSockets();
    const clients = Array.from({ length: many }, () => new Client(gateway.address));
    await eventually(() => expect(gateway.stats.waiting).toBe(many));
    for (const { socket } of clients) socket.resetAndDestroy();
    await eventually(() => expect(gateway.stats.waiting).toBe(0));
    await eventually(() => expect(openSockets()).toBeLessThan(before + many));
    expect(gateway.stats).toMatchObject({ accepted: many, connectFailures: 0, forwarded: 0 });
  });

  test.each(["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"])(
    "because its address leads back to the gateway, as %s, is refused with a clear word",
    async (host) => {
      const { election, lead } = newElection();
      await using opened = await open(election, { holdMs: 700 });
      const { gateway, told } = opened;
      await lead(`${host}:${gateway.address.split(":")[1]}`);
      using client = new Client(gateway.address);
      expect(await client.end()).toBe("ECONNRESET");
      const { accepted, loops, forwarded, refusedLate } = gateway.stats;
      expect({ accepted, forwarded, refusedLate }).toEqual({ accepted: 1, forwarded: 0, refusedLate: 1 });
      expect(loops).toBeGreaterThan(0);
      expect(exposition(gateway.metrics())).toMatch(/^succession_gateway_loops_total\{.*\} [1-9]/m);
      expect(told("leads back to the gateway itself")).toBe(1);
    },
  );

  test("because it leads back to a gateway that listens everywhere", async () => {
    const { election, lead } = newElection();
    await using opened = await open(election, { holdMs: 500, host: "0.0.0.0" });
    const { gateway } = opened;
    const port = gateway.address.split(":")[1];
    await lead(`127.0.0.1:${port}`);
    using client = new Client(`127.0.0.1:${port}`);
    expect(await client.end()).toBe("ECONNRESET");
    expect(gateway.stats).toMatchObject({ accepted: 1, forwarded: 0, refusedLate: 1 });
  });

  test("because it tells no address has clients wait for the next one", async () => {
    const { election, fall } = newElection();
    await etcd.put(`${election}/1`, "just a name");
    await using opened = await open(election);
    const { gateway, told } = opened;
    await eventually(() => expect(told("tells no address")).toBe(1));
    using client = new Client(gateway.address);
    await eventually(() => expect(gateway.stats.waiting).toBe(1));
    const text = exposition(gateway.metrics());
    expect(text).toContain(`succession_gateway_waits{election="${election}",reason="no-address"} 1\n`);
    expect(text).toContain(`succession_gateway_connections_held{election="${election}"} 1\n`);
    await using service = await NamedService.start("one");
    await etcd.put(`${election}/2`, service.address);
    await fall();
    await client.sees("hello from one");
    expect(gateway.stats.addressFailures).toBe(1);
    expect(exposition(gateway.metrics())).toMatch(/^succession_gateway_address_failures_total\{.*\} 1$/m);
  });

  test("in time is given up for another try", async () => {
    const { election, lead } = newElection();
    await using service = await NamedService.start("one");
    await using proxy = await TcpProxy.start({ target: service.address });
    await proxy.blackHole({ accept: false });
    await lead(proxy.endpoint);
    await using opened = await open(election, { connectMs: 300 });
    using client = new Client(opened.gateway.address);
    await eventually(() => expect(opened.gateway.stats.connectFailures).toBeGreaterThan(0));
    await proxy.heal();
    await client.sees("hello from one");
  });
});

describe("a leader that was reached", () => {
  test("and stays silent is counted and told once, and its connection goes on", async () => {
    const { election, lead } = newElection();
    await using service = await NamedService.start("dumb", { serve: false });
    await lead(service.address);
    await using opened = await open(election, { silentMs: 200 });
    const { gateway, told } = opened;
    const clients = [new Client(gateway.address), new Client(gateway.address)];
    for (const client of clients) client.write("anybody there?");
    // One that has asked nothing is owed nothing.
    using idle = new Client(gateway.address);
    await eventually(() => expect(gateway.stats.silent).toBe(2));
    expect([told("does not answer"), clients.map(({ ended }) => ended), idle.ended]).toEqual([
      1,
      [undefined, undefined],
      undefined,
    ]);
    for (const client of clients) client[Symbol.dispose]();
  });

  test("and stays silent for longer than it may is left, counted", async () => {
    const { election, lead } = newElection();
    await using service = await NamedService.start("dumb", { serve: false });
    await lead(service.address);
    await using opened = await open(election, { answerMs: 200 });
    const { gateway, told } = opened;
    using client = new Client(gateway.address);
    using idle = new Client(gateway.address);
    client.write("anybody there?");
    expect(await client.end()).toBe("ECONNRESET");
    expect(gateway.stats).toMatchObject({ silent: 1, cutBySilence: 1, open: 1 });
    expect([told("does not answer"), idle.ended]).toEqual([1, undefined]);
    expect(exposition(gateway.metrics())).toMatch(/^succession_gateway_cut_total\{.*"silent"\} 1$/m);
  });

  test("forgets clients that reset while it takes no more of what they send", async () => {
    const { election, lead } = newElection();
    await using service = await NamedService.start("dumb", { serve: false });
    service.server.on("connection", (socket: Socket) => socket.pause());
    await lead(service.address);
    await using opened = await open(election, { silentMs: 100 });
    const { gateway } = opened;
    const clients = [new Client(gateway.address), new Client(gateway.address)];
    for (const { socket } of clients) socket.write(Buffer.alloc(32 * 1_024 * 1_024));
    await eventually(() => expect(gateway.stats.silent).toBe(2));
    await untilStill(() => gateway.stats.bytesToLeader);
    for (const { socket } of clients) socket.resetAndDestroy();
    await eventually(() => expect(gateway.stats).toMatchObject({ open: 0, waiting: 0, broken: 2 }));
  });

  test("and breaks the connection breaks it for the client, counted once", async () => {
    const { election, lead } = newElection();
    await using service = await NamedService.start("one");
    await lead(service.address);
    await using opened = await open(election);
    const { gateway, told } = opened;
    const clients = [new Client(gateway.address), new Client(gateway.address)];
    for (const client of clients) await client.sees("hello from one");
    for (const socket of [...service.sockets]) socket.resetAndDestroy();
    for (const client of clients) expect(await client.end()).toBe("ECONNRESET");
    await eventually(() => expect(gateway.stats).toMatchObject({ broken: 2, open: 0 }));
    // Also when there was no connection meanwhile.
    using later = new Client(gateway.address);
    await later.sees("hello from one");
    for (const socket of [...service.sockets]) socket.resetAndDestroy();
    await eventually(() => expect(gateway.stats).toMatchObject({ broken: 3, open: 0 }));
    expect(told("a connection broke; of more in this term only the count is told")).toBe(1);
  });

  test("gets half of a connection ended, and answers on the other half", async () => {
    const { election, lead } = newElection();
    await using service = await NamedService.start("one");
    await lead(service.address);
    await using opened = await open(election);
    using client = new Client(opened.gateway.address);
    client.socket.end("all of it");
    await client.sees("one: all of it");
    await client.sees("bye from one");
    expect(await client.end()).toBe("end");
    await eventually(() => expect(opened.gateway.stats).toMatchObject({ open: 0, broken: 0 }));
  });

  test("also by a client that waited and had ended its half before", async () => {
    const { election, lead } = newElection();
    await using service = await NamedService.start("one");
    await using opened = await open(election);
    using client = new Client(opened.gateway.address);
    client.socket.end("all of it");
    await eventually(() => expect(opened.gateway.stats.waiting).toBe(1));
    await lead(service.address);
    await client.sees("bye from one");
    expect(await client.end()).toBe("end");
  });

  test("is read no faster than a slow client reads", async () => {
    const { election, lead } = newElection();
    const piece = Buffer.alloc(64 * 1_024, "x");
    let sent = 0;
    const fountain = createServer((socket: Socket) => {
      const pour = (): void => {
        while (sent < 64 * 1_024 * 1_024) {
          sent += piece.length;
          if (!socket.write(piece)) {
            socket.once("drain", pour);
            return;
          }
        }
        socket.end();
      };
      socket.on("error", () => {});
      pour();
    });
    fountain.listen(0, "127.0.0.1");
    await once(fountain, "listening");
    const { port } = fountain.address() as { port: number };
    await lead(`127.0.0.1:${port}`);
    await using opened = await open(election);
    const { gateway } = opened;
    const client = connect(Number(gateway.address.split(":")[1]), "127.0.0.1");
    client.pause();
    // It stands still when all buffers are full, those of the kernel too; the gateway's are small.
    await untilStill(() => gateway.stats.bytesToClients);
    expect(sent).toBeLessThan(48 * 1_024 * 1_024);
    let received = 0;
    client.on("data", (data: Buffer) => {
      received += data.length;
    });
    client.resume();
    await once(client, "end");
    expect(received).toBe(64 * 1_024 * 1_024);
    client.destroy();
    fountain.close();
  });

  test("is told who the client is, before the client's first byte", async () => {
    const { election, lead } = newElection();
    const heads: Buffer[] = [];
    const service = createServer((socket) => socket.once("data", (head: Buffer) => heads.push(head)));
    service.listen(0, "127.0.0.1");
    await once(service, "listening");
    const { port } = service.address() as { port: number };
    await using opened = await open(election, { proxyProtocol: true });
    using client = new Client(opened.gateway.address);
    client.write("GET /");
    await lead(`127.0.0.1:${port}`);
    await eventually(() => expect(heads).toHaveLength(1));
    const [head = Buffer.alloc(0)] = heads;
    expect(head.subarray(0, 12).toString("latin1")).toBe("\r\n\r\n\0\r\nQUIT\n");
    expect([...head.subarray(12, 24)]).toEqual([0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1]);
    expect(head.readUInt16BE(24)).toBe(client.socket.localPort);
    expect(head.subarray(28).toString()).toBe("GET /");
    service.close();
  });
});

describe("opening and closing", () => {
  test("a port in use is named", async () => {
    await using service = await NamedService.start("one");
    await expect(open("/merc", { port: service.port })).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: `port must be one that nobody listens on at 127.0.0.1, got ${service.port}`,
    });
    await expect(open("/merc", { host: "192.0.2.1" })).rejects.toThrow(
      /^host must be an address of this machine/,
    );
  });

  test.each<[Partial<GatewaySettings>, RegExp]>([
    [{ election: "/merc/" }, /^election must be/],
    [{ port: 65_536 }, /^port must be an integer from 0 to 65535, got 65536/],
    [{ target: "{host}" }, /^target must be a template such as \{host\}:8080, got "\{host\}"/],
    [{ target: "{name}:80" }, /^target must be/],
    [{ maxStaleMs: 10 }, /^maxStaleMs must be a number of milliseconds, 300 or more, got 10/],
    [{ holdMs: -1 }, /^holdMs must be/],
    [{ holdConnections: 1.5 }, /^holdConnections must be an integer/],
    [{ drainMs: Number.NaN }, /^drainMs must be/],
    [{ colour: "red" } as never, /^options must be without unknown fields, got "colour"/],
  ])("%o cannot be used", async (settings, message) => {
    await expect(open("/merc", settings)).rejects.toThrow(message);
  });

  test("closing lets connections end by themselves, and cuts them when the time is over", async () => {
    const { election, lead } = newElection();
    await using service = await NamedService.start("one");
    await lead(service.address);
    const { gateway } = await open(election, { drainMs: 60_000 });
    using polite = new Client(gateway.address);
    using stubborn = new Client(gateway.address);
    await Promise.all([polite.sees("hello"), stubborn.sees("hello")]);
    const closing = gateway.close();
    // The port is free at once, also for another gateway of the same election.
    const port = Number(gateway.address.split(":")[1]);
    await using next = await open(election, { port });
    polite.write("still served");
    await polite.sees("one: still served");
    polite.socket.end();
    await polite.sees("bye from one");
    using other = new Client(next.gateway.address);
    await other.sees("hello");
    await gateway.close({ drainMs: 0 });
    await closing;
    expect(["end", "ECONNRESET"]).toContain(await stubborn.end());
    expect(gateway.stats).toMatchObject({ open: 0, cutByDrainEnd: 1 });
  });

  test("twice is closing once, and tells its readers", async () => {
    const { election, lead } = newElection();
    const { gateway } = await open(election);
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const { at, why, address } of gateway.changes()) seen.push([at, why ?? address]);
    })();
    await eventually(() => expect(seen.at(-1)).toEqual(["wait", "no-leader"]));
    await lead("127.0.0.1:9");
    await eventually(() => expect(seen.at(-1)).toEqual(["open", "127.0.0.1:9"]));
    await Promise.all([gateway.close(), gateway.close()]);
    await reading;
    expect(seen).toHaveLength(3);
  });

  test("the end of a client that it does not own is its end", async () => {
    const own = new Etcd({ endpoints: [server.endpoint] });
    const gateway = await Gateway.open({ etcd: own, election: "/merc", port: 0 });
    await own.close();
    for await (const _change of gateway.changes());
    await gateway.close();
  });
});
