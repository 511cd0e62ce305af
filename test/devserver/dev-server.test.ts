import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { KV, Lease, Watch } from "../../src/etcd/gen/etcd_pb.ts";
import { Election } from "../../src/etcd/gen/v3election_pb.ts";
import { RawClient } from "./raw-client.ts";
import { bytes, refusal } from "./transcript.ts";

const name = bytes("e");
const stopped = { code: 14, details: "etcdserver: server stopped" };

test("close ends every call as unavailable, and may be called twice", async () => {
  const server = await DevServer.start();
  const client = new RawClient(server.endpoint);
  const watch = client.stream(Watch.method.watch);
  watch.send({ requestUnion: { case: "createRequest", value: { key: name } } });
  await watch.answers.next();
  const keepAlive = client.stream(Lease.method.leaseKeepAlive);
  keepAlive.send({ ID: 1n });
  await keepAlive.answers.next();
  await client.unary(Election.method.campaign, { name });
  const observe = client.subscribe(Election.method.observe, { name });
  await observe.next();
  const campaign = client.unary(Election.method.campaign, { name }).catch(refusal);
  while (server.store.range({ key: bytes("e/"), rangeEnd: bytes("e0") }).count < 2n) {
    await client.unary(KV.method.range, { key: name });
  }

  await server.close();
  await server.close();
  const ends = [watch.answers.next(), keepAlive.answers.next(), observe.next()];
  for (const end of ends) expect(await end.catch(refusal)).toEqual(stopped);
  expect(await campaign).toEqual(stopped);
  expect(await client.unary(KV.method.range, { key: name }).catch(refusal)).toMatchObject({ code: 14 });
  client.close();
});

test("close does not wait for a client that says nothing", async () => {
  const server = await DevServer.start();
  const silent = connect(server.port, server.host).on("error", () => {});
  await new Promise((resolve) => silent.once("data", resolve));
  const closed = new Promise((resolve) => silent.once("close", resolve));
  await server.close();
  await closed;
});

test("after close nothing of it is left to keep the process alive", async () => {
  const before = alive();
  const server = await DevServer.start();
  const client = new RawClient(server.endpoint);
  await client.unary(Lease.method.leaseGrant, { TTL: 60n });
  expect(alive().length).toBeGreaterThan(before.length);
  client.close();
  await server.close();
  await expect.poll(alive).toEqual(before);
});

const alive = (): string[] =>
  process
    .getActiveResourcesInfo()
    .filter((name) => /TCP|HTTP/i.test(name))
    .sort();

test("a port in use is a bad option that says which", async () => {
  await using first = await DevServer.start();
  await expect(DevServer.start({ port: first.port })).rejects.toMatchObject({
    code: "BAD_OPTION",
    message: expect.stringContaining(first.endpoint),
  });
});

test.each([-1, 65_536, 1.5])("port %d is a bad option", async (port) => {
  await expect(DevServer.start({ port })).rejects.toMatchObject({ code: "BAD_OPTION" });
});

test("it says loudly that it is not for production", async () => {
  const warnings: [object, string][] = [];
  const silent = () => {};
  const logger = {
    debug: silent,
    info: silent,
    error: silent,
    warn: (fields: object, message: string) => warnings.push([fields, message]),
  };
  await using server = await DevServer.start({ logger });
  expect(warnings).toEqual([
    [expect.objectContaining({ endpoint: server.endpoint }), expect.stringContaining("NOT FOR PRODUCTION")],
  ]);
});

test("with a data dir, a server goes on above the revisions of the one before, with its ids", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "succession-dev-"));
  try {
    const first = await DevServer.start({ dataDir });
    const { header } = first.store.put({ key: name });
    await first.close();
    await using second = await DevServer.start({ dataDir });
    expect(second.store.header().clusterId).toBe(header?.clusterId);
    expect(second.store.revision).toBeGreaterThan(header?.revision ?? 0n);
    expect(second.store.range({ key: name }).count).toBe(0n);
  } finally {
    rmSync(dataDir, { recursive: true });
  }
});

test("a data dir that is a file is a bad option", async () => {
  await expect(DevServer.start({ dataDir: process.execPath })).rejects.toMatchObject({ code: "BAD_OPTION" });
});

test("it listens on IPv6 too", async () => {
  await using server = await DevServer.start({ host: "::1" });
  expect(server.endpoint).toBe(`[::1]:${server.port}`);
  const client = new RawClient(server.endpoint);
  expect(await client.unary(KV.method.range, { key: name })).toMatchObject({ count: 0n });
  client.close();
});

test("requests beyond what gRPC allows are refused as etcd refuses them", async () => {
  await using server = await DevServer.start();
  const client = new RawClient(server.endpoint);
  const value = new Uint8Array(2 * 1024 * 1024 + 1);
  expect(await client.unary(KV.method.put, { key: name, value }).catch(refusal)).toMatchObject({ code: 8 });
  client.close();
});

test("a paused store ends streams that require a leader", async () => {
  await using server = await DevServer.start();
  const client = new RawClient(server.endpoint);
  const keepAlive = client.stream(Lease.method.leaseKeepAlive);
  keepAlive.send({ ID: 1n });
  await keepAlive.answers.next();
  const watch = client.stream(Watch.method.watch, { hasleader: "true" });
  watch.send({ requestUnion: { case: "createRequest", value: { key: name } } });
  await watch.answers.next();
  server.store.pause();
  keepAlive.send({ ID: 1n });
  const noLeader = { code: 14, details: "etcdserver: no leader" };
  expect(await watch.answers.next().catch(refusal)).toEqual(noLeader);
  expect(await keepAlive.answers.next().catch(refusal)).toEqual(noLeader);
  expect(await client.unary(KV.method.range, { key: name }).catch(refusal)).toEqual(noLeader);
  server.store.resume();
  expect(await client.unary(KV.method.range, { key: name })).toMatchObject({ count: 0n });
  client.close();
});
