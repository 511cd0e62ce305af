import { execFileSync } from "node:child_process";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { Watch } from "../../src/etcd/gen/etcd_pb.ts";
import { keepAliveOnce } from "../../src/etcd/keep-alive-once.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { Child } from "../support/processes.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { FakeEtcd } from "./fake-transport.ts";
import { SilentServer } from "./silent-server.ts";

/** Every socket that this process opens while `task` runs. */
async function socketsOf(task: () => Promise<void>): Promise<readonly Socket[]> {
  const sockets: Socket[] = [];
  const onSocket = (message: unknown): void => void sockets.push((message as { socket: Socket }).socket);
  subscribe("net.client.socket", onSocket);
  try {
    await task();
  } finally {
    unsubscribe("net.client.socket", onSocket);
  }
  return sockets;
}

const resources = (): string[] =>
  process
    .getActiveResourcesInfo()
    .filter((each) => /TCP|TLS|Timeout|Immediate/.test(each))
    .sort();

/** What is there now and was not before. */
function added(before: readonly string[], now: readonly string[]): string[] {
  const rest = [...before];
  return now.filter((each) => {
    const at = rest.indexOf(each);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
}

const trouble: readonly [string, (endpoint: string) => Promise<AsyncDisposable & { endpoint: string }>][] = [
  ["that works", (target) => TcpProxy.start({ target })],
  ["that accepts and says nothing", () => SilentServer.start()],
  [
    "that drops connection requests",
    async (target) => {
      const proxy = await TcpProxy.start({ target });
      await proxy.blackHole({ accept: false });
      return proxy;
    },
  ],
  [
    "that is refused",
    async () => {
      const [port] = await freePorts(1);
      return { endpoint: `127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => {} };
    },
  ],
];

test.each(trouble)("an endpoint %s leaves no socket, timer or listener after close", async (_, start) => {
  await using server = await DevServer.start();
  await using spoilt = await start(server.endpoint);
  const before = await eventually(resources);
  const signal = new AbortController();
  const sockets = await socketsOf(async () => {
    const etcd = new Etcd({ endpoints: [spoilt.endpoint], attemptTimeoutMs: 100 });
    const asked = [
      etcd.range("a", { timeoutMs: 700, signal: signal.signal }),
      etcd.ready({ timeoutMs: 700, signal: signal.signal }),
      etcd.put("a", "b", { timeoutMs: 700 }),
      keepAliveOnce(etcd, 1n, { timeoutMs: 700 }),
    ];
    await Promise.allSettled(asked);
    const open = [
      etcd.range("a"),
      etcd.watch({ key: "a" })[Symbol.asyncIterator]().next(),
      etcd.watch({ key: "b" }, { signal: signal.signal })[Symbol.asyncIterator]().next(),
    ];
    // Let them open something.
    await new Promise((resolve) => setImmediate(resolve));
    await etcd.close();
    await Promise.allSettled(open);
  });
  expect(sockets.length).toBeGreaterThan(0);
  await eventually(() => expect(sockets.filter((socket) => !socket.destroyed)).toEqual([]));
  await eventually(() => expect(added(before, resources())).toEqual([]));
});

test("a network that goes silent under streams leaves nothing after close", async () => {
  await using server = await DevServer.start();
  await using proxy = await TcpProxy.start({ target: server.endpoint });
  const before = await eventually(resources);
  const sockets = await socketsOf(async () => {
    const etcd = new Etcd({ endpoints: [proxy.endpoint], attemptTimeoutMs: 100 });
    await etcd.ready();
    const next = etcd.watch({ key: "a" })[Symbol.asyncIterator]().next();
    const watching = expect(next).rejects.toMatchObject({ code: "CLOSED" });
    await proxy.blackHole();
    await expect(etcd.range("a", { timeoutMs: 500 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
    await etcd.close();
    await watching;
  });
  // Those to the server are the proxy's own: a black hole keeps them.
  const ours = sockets.filter((socket) => socket.remotePort !== server.port);
  await eventually(() => expect(ours.filter((socket) => !socket.destroyed)).toEqual([]));
  proxy.resetAll();
  await eventually(() => expect(added(before, resources())).toEqual([]));
});

test("a silent endpoint holds one connection at a time, however long it is tried", async () => {
  await using silent = await SilentServer.start();
  const etcd = new Etcd({ endpoints: [silent.endpoint], attemptTimeoutMs: 100 });
  await expect(etcd.range("a", { timeoutMs: 1_500 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
  expect(silent.sockets.size).toBeLessThanOrEqual(2);
  expect(silent.accepted).toBeGreaterThan(2);
  await etcd.close();
  await eventually(() => expect(silent.sockets.size).toBe(0));
});

test("a thousand watches opened and closed, half of them before etcd answers, use one connection and one stream", async () => {
  const etcd = new FakeEtcd();
  const client = etcd.client();
  const watcher = client.openWatcher();
  const listener = { events: () => {}, canceled: () => {} };
  const staying = watcher.open({ key: "a" }, listener);
  await etcd.clock.advance(0);
  const [stream] = etcd.streams;
  stream?.tell({ watchId: 1n, created: true });
  for (let at = 0; at < 1_000; at++) {
    const watch = watcher.open({ key: "a" }, listener);
    if (at % 2 === 0) stream?.tell({ watchId: BigInt(at + 2), created: true });
    watch.close();
  }
  const sent = stream?.sent.map(
    ({ requestUnion }) => requestUnion as { case: string; value: { watchId: bigint } },
  );
  const canceled = sent?.filter((each) => each.case === "cancelRequest").map(({ value }) => value.watchId);
  expect(canceled).toEqual(Array.from({ length: 1_000 }, (_, at) => BigInt(at + 2)));
  expect(etcd.streams).toHaveLength(1);
  expect(etcd.clock.pending).toBe(0);
  staying.close();
  expect(stream?.canceled).toBe(true);
  await client.close();
});

test("a thousand streams opened and closed leave nothing behind", async () => {
  await using server = await DevServer.start();
  const before = await eventually(resources);
  const etcd = new Etcd({ endpoints: [server.endpoint] });
  await etcd.ready();
  for (let at = 0; at < 1_000; at++) {
    const stream = etcd.openStream(Watch.method.watch, { message: () => {}, end: () => {} });
    stream.onMove(() => {})();
    stream.cancel();
  }
  await etcd.range("a");
  await etcd.close();
  await eventually(async () => expect(added(before, resources())).toEqual([]));
});

test("a long-lived signal collects no listeners", async () => {
  await using server = await DevServer.start();
  const etcd = new Etcd({ endpoints: [server.endpoint] });
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  };
  const { header, ID } = await etcd.leaseGrant(60, { signal });
  await etcd.ready({ signal });
  await etcd.put("a", "b", { signal });
  await etcd.status(server.endpoint, { signal });
  await keepAliveOnce(etcd, ID, { signal });
  const startRevision = header?.revision ?? 0n;
  for await (const _ of etcd.watch({ key: "a", startRevision }, { signal })) break;
  expect(listeners).toBe(0);
  await etcd.close();
});

describe("a process whose client is closed ends by itself", () => {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  let folder = "";

  beforeAll(() => {
    // Node.js 20 does not read TypeScript; below the project's folder its dependencies are found.
    mkdirSync(join(root, ".cache"), { recursive: true });
    folder = mkdtempSync(join(root, ".cache", "etcd-client-"));
    const flags = ["--noCheck", "--noEmitOnError", "false"];
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    execFileSync(process.execPath, [
      tsc,
      "-p",
      join(root, "tsconfig.build.json"),
      "--outDir",
      folder,
      ...flags,
    ]);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each(["working", "silent", "refused"])("with a %s endpoint", async (kind) => {
    await using server = await DevServer.start();
    await using silent = await SilentServer.start();
    const [free] = await freePorts(1);
    const endpoints = { working: server.endpoint, silent: silent.endpoint, refused: `127.0.0.1:${free}` };
    const code = `
      import { Etcd } from ${JSON.stringify(join(folder, "etcd/etcd.js"))};
      const etcd = new Etcd({ endpoints: [process.argv[1]], attemptTimeoutMs: 100 });
      await etcd.ready({ timeoutMs: 500 }).catch(() => {});
      const requests = [etcd.range("a"), etcd.watch({ key: "a" })[Symbol.asyncIterator]().next()];
      await etcd.put("a", "b", { timeoutMs: 300 }).catch(() => {});
      await etcd.close();
      await Promise.allSettled(requests);
      console.log("closed");
    `;
    const endpoint = endpoints[kind as keyof typeof endpoints];
    await using child = Child.start({ args: ["--input-type=module", "-e", code, endpoint] });
    await child.waitFor("closed", 20_000);
    const closedAt = performance.now();
    expect(await child.exit, child.stderr).toEqual({ code: 0, signal: null });
    expect(performance.now() - closedAt).toBeLessThan(1_500);
  });
});
