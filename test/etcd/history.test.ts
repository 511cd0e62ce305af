import { expect, test } from "vitest";
import type { Etcd, StoreRestored } from "../../src/etcd/etcd.ts";
import { KV, Lease } from "../../src/etcd/gen/etcd_pb.ts";
import { rangeOp } from "../../src/etcd/ops.ts";
import { FakeEtcd, header } from "./fake-transport.ts";

/** A client whose answers the test gives, one by one, in any order. */
function setUp(): {
  readonly client: Etcd;
  readonly restored: StoreRestored[];
  ask(request?: () => Promise<unknown>): (revision: bigint, clusterId?: bigint) => Promise<void>;
} {
  const waiting: ((answer: object) => void)[] = [];
  const etcd = new FakeEtcd(() => new Promise((resolve) => waiting.push((answer) => resolve({ answer }))));
  const client = etcd.client();
  const restored: StoreRestored[] = [];
  client.onRestored((what) => restored.push(what));
  return {
    client,
    restored,
    ask: (request = () => client.range("a")) => {
      const answered = request();
      const answer = waiting.length;
      return async (revision, clusterId) => {
        // The request is sent some microtasks after it was made.
        waiting[answer]?.(header(revision, clusterId));
        await answered;
      };
    },
  };
}

const sent = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("an answer older than what was known when its request was sent tells of a restored store, once", async () => {
  const { ask, restored } = setUp();
  const first = ask();
  await sent();
  await first(10n);
  const second = ask();
  await sent();
  const third = ask();
  await sent();
  await second(4n);
  await third(4n);
  expect(restored).toEqual([{ knownRevision: 10n, revision: 4n, otherCluster: false }]);
  const later = ask();
  await sent();
  await later(5n);
  expect(restored).toHaveLength(1);
});

test("answers that overtake each other tell nothing", async () => {
  const { ask, restored } = setUp();
  const asked: ReturnType<typeof ask>[] = [];
  for (let at = 0; at < 3; at++) {
    asked.push(ask());
    await sent();
  }
  await asked[2]?.(30n);
  await asked[0]?.(10n);
  await asked[1]?.(20n);
  const next = ask();
  await sent();
  await next(30n);
  expect(restored).toEqual([]);
});

test("an answer from before a jump, arriving after it, brings the old store back to nobody's mind", async () => {
  const { ask, restored } = setUp();
  const first = ask();
  await sent();
  await first(10n);
  const slow = ask();
  await sent();
  const quick = ask();
  await sent();
  await quick(3n);
  await slow(11n);
  const next = ask();
  await sent();
  await next(4n);
  expect(restored).toHaveLength(1);
});

test("another cluster is told even if its revision is higher", async () => {
  const { ask, restored } = setUp();
  const first = ask();
  await sent();
  await first(10n, 1n);
  const second = ask();
  await sent();
  await second(99n, 2n);
  expect(restored).toEqual([{ knownRevision: 10n, revision: 99n, otherCluster: true }]);
});

test.each<[string, (client: Etcd) => Promise<unknown>]>([
  ["a serializable read", (client) => client.range("a", { serializable: true })],
  [
    "a transaction of serializable reads",
    (client) => client.txn({ success: [rangeOp({ key: Uint8Array.of(1), serializable: true })] }),
  ],
  ["a transaction that only compares", (client) => client.txn({})],
  ["a compaction", (client) => client.compact(1n)],
  ["a lease's time", (client) => client.leaseTimeToLive(1n)],
  ["a lease's end", (client) => client.call(Lease.method.leaseRevoke, { ID: 1n }, { idempotent: true })],
])("%s may be older than what is known", async (_, request) => {
  const { client, ask, restored } = setUp();
  const first = ask();
  await sent();
  await first(10n);
  const old = ask(() => request(client));
  await sent();
  await old(4n);
  expect(restored).toEqual([]);
});

test.each<[string, (client: Etcd) => Promise<unknown>]>([
  ["a put", (client) => client.put("a", "b")],
  ["a delete", (client) => client.delete("a")],
  ["a transaction that reads", (client) => client.txn({ success: [rangeOp({ key: Uint8Array.of(1) })] })],
  ["a call", (client) => client.call(KV.method.range, { key: Uint8Array.of(1) }, { idempotent: true })],
])("%s is of the newest state", async (_, request) => {
  const { client, ask, restored } = setUp();
  const first = ask();
  await sent();
  await first(10n);
  const old = ask(() => request(client));
  await sent();
  await old(4n);
  expect(restored).toHaveLength(1);
});

test("a watch ends when the store went back: it would wait for revisions of something else", async () => {
  const { client, ask } = setUp();
  const first = ask();
  await sent();
  await first(10n);
  const next = client.watch({ key: "a", startRevision: 11n })[Symbol.asyncIterator]().next();
  const second = ask();
  await sent();
  await second(4n);
  await expect(next).rejects.toMatchObject({ code: "COMPACTED" });
});
