import { expect, test } from "vitest";
import { Session } from "../../src/concurrency/session.ts";
import { Watch } from "../../src/etcd/gen/etcd_pb.ts";
import { type Asked, FakeEtcd, header, type Reply, says } from "./fake-transport.ts";

const root = { user: "root", password: "s3cret" };

/** Endpoints that take one token at a time; `renew` makes another the good one. */
function guarded(
  authenticate: (token: string) => Reply | Promise<Reply> = (token) => ({ answer: { token } }),
): {
  readonly etcd: FakeEtcd;
  renew(): void;
  readonly authenticated: () => number;
} {
  let good = 1;
  const etcd = new FakeEtcd(({ method, metadata: { token } }: Asked) => {
    if (method === "Authenticate") return authenticate(`t${good}`);
    return token === `t${good}` ? { answer: header(5n) } : says("etcdserver: invalid auth token", 16);
  });
  return {
    etcd,
    renew: () => {
      good++;
    },
    authenticated: () => etcd.asked.filter(({ method }) => method === "Authenticate").length,
  };
}

test("a token is fetched once, before the first request, and goes with every request after", async () => {
  const { etcd, authenticated } = guarded();
  const client = etcd.client(root);
  await Promise.all([client.range("a"), client.put("a", "b"), client.leaseList()]);
  expect(authenticated()).toBe(1);
  expect(etcd.asked[0]).toMatchObject({
    method: "Authenticate",
    request: { name: "root", password: "s3cret" },
  });
  expect(etcd.asked[0]?.metadata).toEqual({ hasleader: "true" });
  expect(etcd.asked.slice(1).map(({ metadata: { token } }) => token)).toEqual(["t1", "t1", "t1"]);
});

test("many requests whose token is refused together cost one new token, and changes are repeated", async () => {
  const { etcd, renew, authenticated } = guarded();
  const client = etcd.client(root);
  await client.range("a");
  renew();
  await Promise.all(Array.from({ length: 30 }, () => client.put("a", "b")));
  expect(authenticated()).toBe(2);
});

test("the state of one member is asked for again with a new token, once", async () => {
  const { etcd, renew, authenticated } = guarded();
  const client = etcd.client(root);
  await client.range("a");
  renew();
  await client.status("b:1");
  expect(authenticated()).toBe(2);
  expect(etcd.asked.filter(({ method }) => method === "Status").map(({ endpoint }) => endpoint)).toEqual([
    "b:1",
    "b:1",
  ]);
  const refusing = guarded(() => ({ answer: { token: "never good" } }));
  await expect(refusing.etcd.client(root).status("b:1")).rejects.toMatchObject({ code: "AUTH_FAILED" });
  expect(refusing.authenticated()).toBe(2);
});

test("a refusal that comes late does not throw away the token that has come since", async () => {
  const refusals: ((reply: Reply) => void)[] = [];
  let tokens = 0;
  const etcd = new FakeEtcd(({ method, metadata: { token } }) => {
    if (method === "Authenticate") return { answer: { token: `t${++tokens}` } };
    if (token !== "t1") return { answer: header(5n) };
    return new Promise((resolve) => refusals.push(resolve));
  });
  const client = etcd.client(root);
  const refused = says("etcdserver: invalid auth token", 16);
  const first = client.range("a");
  const second = client.range("a");
  await etcd.clock.advance(0);
  refusals[0]?.(refused);
  await first;
  refusals[1]?.(refused);
  await second;
  expect(tokens).toBe(2);
});

test("one caller who gives up does not take the token from the others", async () => {
  let grant: (reply: Reply) => void = () => {};
  const { etcd, authenticated } = guarded(() => new Promise((resolve) => (grant = resolve)));
  const client = etcd.client(root);
  const given = new AbortController();
  const first = client.range("a", { signal: given.signal });
  const hurried = client.range("a", { timeoutMs: 100 }).catch((error: unknown) => error);
  const patient = client.range("a");
  await etcd.clock.advance(100);
  given.abort();
  await expect(first).rejects.toBe(given.signal.reason);
  expect(await hurried).toMatchObject({ code: "ETCD_UNAVAILABLE", mayHaveApplied: false });
  grant({ answer: { token: "t1" } });
  expect(await patient).toMatchObject(header(5n));
  expect(authenticated()).toBe(1);
});

test("a cluster that refuses fresh tokens is asked with pauses, till the time is over", async () => {
  const etcd = new FakeEtcd(({ method }) =>
    method === "Authenticate"
      ? { answer: { token: "t" } }
      : says("etcdserver: revision of auth store is old", 3),
  );
  const range = etcd
    .client(root)
    .range("a")
    .catch((error: unknown) => error);
  await etcd.clock.advance(10_000);
  expect(await range).toMatchObject({
    code: "ETCD_UNAVAILABLE",
    message: expect.stringContaining("revision of auth store is old"),
    mayHaveApplied: false,
  });
  expect(etcd.asked.length).toBeLessThan(60);
});

test("a cluster without passwords is content with any", async () => {
  const etcd = new FakeEtcd(({ method }) =>
    method === "Authenticate" ? says("etcdserver: authentication is not enabled", 9) : { answer: header(5n) },
  );
  const client = etcd.client(root);
  await client.range("a");
  await client.range("a");
  expect(etcd.asked.map(({ method }) => method)).toEqual(["Authenticate", "Range", "Range"]);
  expect(etcd.asked[1]?.metadata).toEqual({ hasleader: "true" });
});

test("a stream that ends for its token has the next one opened with a new token", async () => {
  const { etcd, renew } = guarded();
  const client = etcd.client(root);
  await client.authorize();
  const status = { code: 16, message: "etcdserver: invalid auth token" };
  const old = client.openStream(Watch.method.watch, { message: () => {}, end: () => {} });
  renew();
  old.failed(status);
  await client.authorize();
  client.openStream(Watch.method.watch, { message: () => {}, end: () => {} });
  old.failed(status);
  await client.authorize();
  client.openStream(Watch.method.watch, { message: () => {}, end: () => {} });
  expect(etcd.streams.map(({ metadata: { token } }) => token)).toEqual(["t1", "t2", "t2"]);
});

test("many sessions whose keepalives are refused one after the other cost one new token", async () => {
  let tokens = 0;
  const etcd = new FakeEtcd(({ method, request }) => {
    if (method === "Authenticate") return { answer: { token: `t${++tokens}` } };
    return method === "LeaseGrant" ? { answer: { ...request, TTL: 10n } } : { answer: header(5n) };
  });
  const client = etcd.client(root);
  const sessions = await Promise.all(Array.from({ length: 5 }, () => Session.open(client)));
  await etcd.clock.advance(4_000);
  const keepalives = etcd.streams.filter(({ canceled }) => !canceled);
  expect(keepalives.map(({ metadata: { token } }) => token)).toEqual(["t1", "t1", "t1", "t1", "t1"]);
  for (const stream of keepalives) {
    stream.end({ code: 16, message: "etcdserver: invalid auth token" });
    await etcd.clock.advance(10);
  }
  const renewed = etcd.streams.filter((each) => !each.canceled && !keepalives.includes(each));
  expect(renewed.map(({ metadata: { token } }) => token)).toEqual(["t2", "t2", "t2", "t2", "t2"]);
  expect(tokens).toBe(2);
  for (const session of sessions) session.orphan();
});
