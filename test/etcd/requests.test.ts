import { expect, test } from "vitest";
import { Lease } from "../../src/etcd/gen/etcd_pb.ts";
import { keepAliveOnce } from "../../src/etcd/keep-alive-once.ts";
import { type Asked, FakeEtcd, header, type Reply, says } from "./fake-transport.ts";

/** The outcome of a promise once the clock has moved by `ms`. */
async function after<T>(etcd: FakeEtcd, ms: number, promise: Promise<T>): Promise<unknown> {
  const settled = promise.catch((error: unknown) => error);
  await etcd.clock.advance(ms);
  return await Promise.race([settled, Promise.resolve().then(() => "pending")]);
}

/** Replies one after the other, the last one for ever. */
function inTurn(...replies: readonly Reply[]): (asked: Asked) => Reply {
  let at = 0;
  return () => replies[Math.min(at++, replies.length - 1)] ?? "silence";
}

const ok = { answer: header(5n) };

test("a request has a time limit even if nothing ever answers", async () => {
  const etcd = new FakeEtcd();
  const client = etcd.client();
  const range = client.range("a", { timeoutMs: 3_000 });
  expect(await after(etcd, 2_999, range)).toBe("pending");
  expect(await after(etcd, 1, range)).toMatchObject({
    code: "ETCD_UNAVAILABLE",
    message:
      "Range: no usable answer from etcd within 3000 ms (a:1: no answer within 500 ms; b:1: no answer within 500 ms; c:1: no answer within 500 ms)",
    mayHaveApplied: true,
  });
  expect(etcd.clock.pending).toBe(0);
});

test.each<[string, (client: ReturnType<FakeEtcd["client"]>) => Promise<unknown>]>([
  ["ready", (client) => client.ready()],
  ["put", (client) => client.put("a", "b")],
  ["txn", (client) => client.txn({})],
  ["delete", (client) => client.delete("a")],
  ["compact", (client) => client.compact(1n)],
  ["leaseGrant", (client) => client.leaseGrant(5)],
  ["leaseRevoke", (client) => client.leaseRevoke(5n)],
  ["leaseTimeToLive", (client) => client.leaseTimeToLive(5n)],
  ["leaseList", (client) => client.leaseList()],
  ["memberList", (client) => client.memberList()],
  ["status", (client) => client.status("a:1")],
  ["keepAliveOnce", (client) => keepAliveOnce(client, 5n)],
])("%s ends within its default time limit, with or without a user", async (_, ask) => {
  for (const user of [{}, { user: "root", password: "s3cret" }]) {
    const etcd = new FakeEtcd();
    const client = etcd.client(user);
    const error = await after(etcd, 10_000, ask(client));
    expect(error).toMatchObject({ code: "ETCD_UNAVAILABLE" });
    expect(String(error)).not.toContain("s3cret");
    await client.close();
    await etcd.clock.advance(0);
    expect(etcd.clock.pending).toBe(0);
  }
});

test("a silent endpoint costs one attempt, then the next one is asked", async () => {
  const etcd = new FakeEtcd(({ endpoint }) => (endpoint === "b:1" ? "silence" : ok));
  const client = etcd.client();
  const range = client.range("a");
  expect(await after(etcd, 499, range)).toBe("pending");
  expect(await after(etcd, 1, range)).toMatchObject(header(5n));
  expect(etcd.endpoints).toEqual(["b:1", "c:1"]);
  await client.range("a");
  expect(etcd.endpoints).toEqual(["b:1", "c:1", "c:1"]);
});

test("every endpoint is asked before the first pause", async () => {
  const etcd = new FakeEtcd(() => says("etcdserver: no leader"));
  void etcd
    .client()
    .range("a")
    .catch(() => {});
  await etcd.clock.advance(0);
  expect(etcd.endpoints).toEqual(["b:1", "c:1", "a:1"]);
  await etcd.clock.advance(50);
  expect(etcd.endpoints).toHaveLength(4);
});

test("a read is repeated whatever happened to it", async () => {
  const etcd = new FakeEtcd(inTurn(says("read ECONNRESET"), says("etcdserver: request timed out"), ok));
  expect(await etcd.client().range("a")).toMatchObject(header(5n));
});

test.each<[string, Reply]>([
  ["the connection broke", says("read ECONNRESET")],
  ["etcd lost its leader under it", says("etcdserver: leader changed")],
  ["etcd gave up waiting", says("etcdserver: request timed out")],
  ["nobody answered", "silence"],
])("a change is not repeated when %s", async (_, reply) => {
  const etcd = new FakeEtcd(inTurn(reply, ok));
  const error = await after(etcd, 500, etcd.client().put("a", "b"));
  expect(error).toMatchObject({ code: "ETCD_UNAVAILABLE", mayHaveApplied: true });
  expect(etcd.asked).toHaveLength(1);
});

test.each<[string, Reply]>([
  ["the connection was refused", says("connect ECONNREFUSED 127.0.0.1:1")],
  ["the member has no leader", says("etcdserver: no leader")],
  ["etcd is overloaded", says("etcdserver: too many requests", 8)],
  ["no connection took it", "unsent silence"],
])("a change is repeated when %s", async (_, reply) => {
  const etcd = new FakeEtcd(inTurn(reply, ok));
  expect(await after(etcd, 500, etcd.client().put("a", "b"))).toMatchObject(header(5n));
  expect(etcd.asked).toHaveLength(2);
});

test("that nothing was sent is told when the time is over", async () => {
  const etcd = new FakeEtcd(() => "unsent silence");
  const error = await after(etcd, 1_000, etcd.client().put("a", "b", { timeoutMs: 700 }));
  expect(error).toMatchObject({ code: "ETCD_UNAVAILABLE", mayHaveApplied: false });
});

test("an attempt that may have applied is not forgotten when a later one is refused", async () => {
  const etcd = new FakeEtcd(inTurn("silence", says("etcdserver: permission denied", 7)));
  const client = etcd.client();
  const txn = client.call({ ...Lease.method.leaseRevoke }, { ID: 1n }, { idempotent: true });
  expect(await after(etcd, 500, txn)).toMatchObject({ code: "PERMISSION_DENIED", mayHaveApplied: true });
});

test("what is final is told at once, and the endpoint stays in use", async () => {
  const etcd = new FakeEtcd(inTurn(says("etcdserver: key is not provided", 3), ok));
  const client = etcd.client();
  await expect(client.range("")).rejects.toMatchObject({ code: "ETCD_REFUSED" });
  await client.range("a");
  expect(etcd.endpoints).toEqual(["b:1", "b:1"]);
});

test("overload is waited out on the same endpoint", async () => {
  const etcd = new FakeEtcd(inTurn(says("etcdserver: too many requests", 8), ok));
  const range = etcd.client().range("a");
  expect(await after(etcd, 100, range)).toMatchObject(header(5n));
  expect(etcd.endpoints).toEqual(["b:1", "b:1"]);
});

test("a caller in a hurry does not make an endpoint look silent", async () => {
  const etcd = new FakeEtcd();
  const client = etcd.client();
  await after(etcd, 100, client.range("a", { timeoutMs: 100 }));
  await after(etcd, 100, client.range("a", { timeoutMs: 100 }));
  expect(etcd.endpoints).toEqual(["b:1", "b:1"]);
});

test("a time that is over already sends nothing", async () => {
  const etcd = new FakeEtcd(() => ok);
  await expect(etcd.client().put("a", "b", { timeoutMs: 0 })).rejects.toMatchObject({
    code: "ETCD_UNAVAILABLE",
    mayHaveApplied: false,
  });
  expect(etcd.asked).toEqual([]);
});

test("the signal's reason is what a given-up request rejects with, whatever it is", async () => {
  for (const reason of [undefined, "text", new Error("enough"), { code: 14 }]) {
    const etcd = new FakeEtcd();
    const given = new AbortController();
    const put = etcd.client().put("a", "b", { signal: given.signal });
    await etcd.clock.advance(10);
    given.abort(reason);
    await expect(put).rejects.toBe(given.signal.reason);
    expect(etcd.clock.pending).toBe(0);
    expect(etcd.asked).toHaveLength(1);
  }
});

test("a pause between two attempts ends with the signal, and with the client", async () => {
  const etcd = new FakeEtcd(() => says("etcdserver: no leader"));
  const client = etcd.client();
  const given = new AbortController();
  const first = client.range("a", { signal: given.signal }).catch((error: unknown) => error);
  const second = client.range("a").catch((error: unknown) => error);
  await etcd.clock.advance(2_000);
  given.abort();
  expect(await first).toBe(given.signal.reason);
  await client.close();
  expect(await second).toMatchObject({ code: "CLOSED" });
  expect(etcd.clock.pending).toBe(0);
});

test("after close every request and stream is refused", async () => {
  const etcd = new FakeEtcd(() => ok);
  const client = etcd.client();
  await client.close();
  await client.close();
  await expect(client.range("a")).rejects.toMatchObject({ code: "CLOSED" });
  await expect(client.ready()).rejects.toMatchObject({ code: "CLOSED" });
  await expect(client.authorize()).rejects.toMatchObject({ code: "CLOSED" });
  const listener = { message: () => {}, end: () => {} };
  expect(() => client.openStream(Lease.method.leaseKeepAlive, listener)).toThrow("the etcd client is closed");
  expect(etcd.asked).toEqual([]);
});

test("a stream that stalls as its client closes does no harm", async () => {
  const etcd = new FakeEtcd(() => ok);
  const client = etcd.client();
  const stream = client.openStream(Lease.method.leaseKeepAlive, { message: () => {}, end: () => {} });
  await client.close();
  for (let times = 0; times < 3; times++) stream.stalled();
});

test("a leader is asked for, but not where a member without one may answer", async () => {
  const etcd = new FakeEtcd(() => ok);
  const client = etcd.client();
  await client.range("a");
  await client.put("a", "b");
  await client.range("a", { serializable: true });
  await client.status("a:1");
  await client.memberList();
  expect(etcd.asked.map(({ metadata: { hasleader } }) => hasleader)).toEqual([
    "true",
    "true",
    undefined,
    undefined,
    undefined,
  ]);
});

test("a grant is repeated with the same id, and one that exists by then is ours, since the first sending", async () => {
  const etcd = new FakeEtcd(({ method, request: { ID } }) => {
    if (method === "LeaseTimeToLive") return { answer: { ID, TTL: 6n, grantedTtl: 7n } };
    return etcd.asked.length === 1 ? "silence" : says("etcdserver: lease already exists", 9);
  });
  await etcd.clock.advance(40);
  const grant = await after(etcd, 500, etcd.client().grant(5));
  const ids = new Set(etcd.asked.map(({ request: { ID } }) => ID));
  expect(ids.size).toBe(1);
  expect(grant).toMatchObject({ response: { ID: [...ids][0], TTL: 7n }, sentAt: 40 });
});

test("a lease that exists although nobody answered yet, and is gone when asked about, is lost", async () => {
  const etcd = new FakeEtcd(({ method }) => {
    if (method === "LeaseTimeToLive") return { answer: { TTL: -1n } };
    return etcd.asked.length === 1 ? "silence" : says("etcdserver: lease already exists", 9);
  });
  expect(await after(etcd, 500, etcd.client().grant(5))).toMatchObject({ code: "SESSION_LOST" });
});

test("an id of the caller's that exists is not taken for his lease", async () => {
  const etcd = new FakeEtcd(inTurn("silence", says("etcdserver: lease already exists", 9)));
  const grant = etcd.client().leaseGrant(5, { leaseId: 9n });
  expect(await after(etcd, 500, grant)).toMatchObject({ code: "ETCD_REFUSED", mayHaveApplied: true });
});

test("many requests that one slow spell holds up do not cost a connection that may be well", async () => {
  const etcd = new FakeEtcd();
  const client = etcd.client({ endpoints: ["a:1"] });
  const spell = Array.from({ length: 100 }, () => client.put("a", "b").catch(() => {}));
  await etcd.clock.advance(500);
  await Promise.all(spell);
  expect(etcd.reconnected).toEqual([]);
});

test("a connection that stays silent for a second request is dropped, then rarer and rarer", async () => {
  const etcd = new FakeEtcd();
  const client = etcd.client({ endpoints: ["a:1"] });
  const range = client.range("a", { timeoutMs: 60_000 }).catch(() => {});
  await etcd.clock.advance(1_200);
  expect(etcd.reconnected).toEqual(["a:1"]);
  await etcd.clock.advance(60_000);
  await range;
  expect(etcd.reconnected.length).toBeGreaterThan(3);
  expect(etcd.reconnected.length).toBeLessThan(9);
});

test("a stream that stalls twice, by a patience of its own, has its connection dropped", async () => {
  const etcd = new FakeEtcd();
  const client = etcd.client({ endpoints: ["a:1"], attemptTimeoutMs: 2_000 });
  const stream = client.openStream(Lease.method.leaseKeepAlive, { message: () => {}, end: () => {} });
  for (let round = 0; round < 2; round++) {
    stream.send({ ID: 1n });
    await etcd.clock.advance(800);
    stream.stalled();
  }
  expect(etcd.reconnected).toEqual(["a:1"]);
});

test("an answer in between shows that the connection is well", async () => {
  let slow = false;
  const etcd = new FakeEtcd(() => (slow ? "silence" : ok));
  const client = etcd.client({ endpoints: ["a:1"] });
  for (let round = 0; round < 5; round++) {
    slow = true;
    const put = client.put("a", "b").catch(() => {});
    await etcd.clock.advance(500);
    await put;
    slow = false;
    await client.range("a");
  }
  expect(etcd.reconnected).toEqual([]);
});

test("a hundred requests and watches at once bring no warning about a leak", async () => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning);
  process.on("warning", onWarning);
  const etcd = new FakeEtcd();
  const client = etcd.client();
  const requests = Array.from({ length: 100 }, () => client.range("a").catch(() => {}));
  const watches = Array.from({ length: 100 }, () =>
    client
      .watch({ key: "a" })
      [Symbol.asyncIterator]()
      .next()
      .catch(() => {}),
  );
  await etcd.clock.advance(100);
  await client.close();
  await Promise.all([...requests, ...watches]);
  // Node.js emits warnings in a later turn.
  await new Promise((resolve) => setImmediate(resolve));
  process.removeListener("warning", onWarning);
  expect(warnings).toEqual([]);
});
