import { expect, test } from "vitest";
import type { Etcd } from "../../src/etcd/etcd.ts";
import type { WatchRequest } from "../../src/etcd/watch.ts";
import { FakeEtcd, header, type ServedStream, says } from "./fake-transport.ts";

/** Watches on one watcher, and what each was told. */
class Watched {
  readonly etcd: FakeEtcd;
  readonly client: Etcd;
  readonly told: string[] = [];
  readonly #watcher;

  constructor(etcd: FakeEtcd = new FakeEtcd(() => ({ answer: header(1n) })), user: object = {}) {
    this.etcd = etcd;
    this.client = etcd.client(user);
    this.#watcher = this.client.openWatcher();
  }

  async open(key: string, options: Partial<WatchRequest> = {}): Promise<{ close(): void }> {
    const watch = this.#watcher.open(
      { key, startRevision: 10n, ...options },
      {
        events: ({ revision, events }) => this.told.push(`${key} ${revision} (${events.length})`),
        canceled: (error) => this.told.push(`${key} ${error.code}`),
      },
    );
    await this.etcd.clock.advance(0);
    return watch;
  }

  /** The newest stream. */
  get stream(): ServedStream {
    const stream = this.etcd.streams.at(-1);
    if (stream === undefined) throw new Error("no stream was opened");
    return stream;
  }

  /** What was asked on the newest stream, as `id@revision` for a new watch and `-id` for one given up. */
  get asked(): string[] {
    return this.stream.sent.map(({ requestUnion }) => {
      const { case: kind, value } = requestUnion as {
        readonly case: string;
        readonly value: { readonly watchId: bigint; readonly startRevision: bigint };
      };
      return kind === "createRequest" ? `${value.watchId}@${value.startRevision}` : `-${value.watchId}`;
    });
  }
}

const event = (modRevision: bigint): object => ({ kv: { modRevision } });
const unavailable = { code: 14, message: "read ECONNRESET" };

test("watches share a stream, and after a break each goes on after its last event, elsewhere", async () => {
  const watched = new Watched();
  await watched.open("a");
  await watched.open("b", { startRevision: 5n });
  expect(watched.asked).toEqual(["1@10", "2@5"]);
  watched.stream.tell({ watchId: 1n, created: true });
  watched.stream.tell({ watchId: 2n, created: true });
  watched.stream.tell({ watchId: 1n, events: [event(12n), event(12n), event(14n)] });
  const first = watched.stream.endpoint;
  watched.stream.end(unavailable);
  await watched.etcd.clock.advance(0);
  expect(watched.told).toEqual(["a 12 (2)", "a 14 (1)"]);
  expect(watched.asked).toEqual(["1@15", "2@5"]);
  expect(watched.stream.endpoint).not.toBe(first);
  // What a server repeats is not told twice.
  watched.stream.tell({ watchId: 1n, events: [event(14n), event(15n)] });
  expect(watched.told.slice(2)).toEqual(["a 15 (1)"]);
});

test("a watch on what comes next resumes after the revision that it was created at", async () => {
  const watched = new Watched();
  const { etcd, client } = watched;
  client.openWatcher().open({ key: "a" }, { events: () => {}, canceled: () => {} });
  await etcd.clock.advance(0);
  expect(watched.asked).toEqual(["1@0"]);
  watched.stream.tell({ watchId: 1n, created: true, ...header(41n) });
  watched.stream.end(unavailable);
  await etcd.clock.advance(0);
  expect(watched.asked).toEqual(["1@42"]);
});

test("a progress answer moves nothing", async () => {
  const watched = new Watched();
  await watched.open("a");
  watched.stream.tell({ watchId: 1n, created: true });
  watched.stream.tell({ watchId: 1n, ...header(99n) });
  watched.stream.end(unavailable);
  await watched.etcd.clock.advance(0);
  expect(watched.asked).toEqual(["1@10"]);
});

test("fragments are told as one, and those cut off by a break are not told at all", async () => {
  const watched = new Watched();
  await watched.open("a");
  watched.stream.tell({ watchId: 1n, created: true });
  watched.stream.tell({ watchId: 1n, fragment: true, events: [event(10n), event(11n)] });
  expect(watched.told).toEqual([]);
  watched.stream.tell({ watchId: 1n, events: [event(11n), event(12n)] });
  expect(watched.told).toEqual(["a 10 (1)", "a 11 (2)", "a 12 (1)"]);
  watched.stream.tell({ watchId: 1n, fragment: true, events: [event(13n)] });
  watched.stream.end(unavailable);
  await watched.etcd.clock.advance(0);
  expect(watched.asked).toEqual(["1@13"]);
  watched.stream.tell({ watchId: 1n, events: [event(13n), event(13n)] });
  expect(watched.told.slice(3)).toEqual(["a 13 (2)"]);
});

test.each<[string, object[]]>([
  ["created and then canceled", [{ created: true }, { canceled: true, compactRevision: 50n }]],
  ["created and canceled in one", [{ created: true, canceled: true, compactRevision: 50n }]],
  ["canceled alone", [{ canceled: true, compactRevision: 50n }]],
])(
  "a compacted watch, %s, ends once with COMPACTED and leaves the others on the stream",
  async (_, answers) => {
    const watched = new Watched();
    await watched.open("a");
    await watched.open("b");
    for (const answer of answers) watched.stream.tell({ watchId: 1n, ...answer });
    watched.stream.tell({ watchId: 2n, created: true });
    watched.stream.tell({ watchId: 1n, events: [event(60n)] });
    watched.stream.tell({ watchId: 2n, events: [event(60n)] });
    expect(watched.told).toEqual(["a COMPACTED", "b 60 (1)"]);
    expect(watched.etcd.streams).toHaveLength(1);
  },
);

test("a refusal under the id -1 is for the watch that was asked for first and not answered yet", async () => {
  const watched = new Watched();
  await watched.open("a");
  await watched.open("b");
  await watched.open("c");
  watched.stream.tell({ watchId: 1n, created: true });
  const refused = {
    watchId: -1n,
    created: true,
    canceled: true,
    cancelReason: "mvcc: watcher range is empty",
  };
  watched.stream.tell(refused);
  watched.stream.tell({ watchId: 3n, created: true });
  expect(watched.told).toEqual(["b ETCD_REFUSED"]);
});

test("a refusal for a watch that was given up meanwhile is not taken for another's", async () => {
  const watched = new Watched();
  const going = await watched.open("a");
  await watched.open("b");
  going.close();
  expect(watched.asked).toEqual(["1@10", "2@10", "-1"]);
  const refused = {
    watchId: -1n,
    created: true,
    canceled: true,
    cancelReason: "mvcc: watcher range is empty",
  };
  watched.stream.tell(refused);
  watched.stream.tell({ watchId: 2n, created: true });
  watched.stream.tell({ watchId: 2n, events: [event(10n)] });
  expect(watched.told).toEqual(["b 10 (1)"]);
});

test("a watch that etcd cancels without a reason is opened again, with pauses while that goes on", async () => {
  const watched = new Watched();
  await watched.open("a");
  for (let round = 0; round < 100; round++) {
    watched.stream.tell({ watchId: 1n, created: true });
    watched.stream.tell({ watchId: 1n, canceled: true });
    await watched.etcd.clock.advance(100);
  }
  expect(watched.told).toEqual([]);
  expect(watched.etcd.streams.length).toBeGreaterThan(5);
  expect(watched.etcd.streams.length).toBeLessThan(40);
});

test("a server that never answers a new watch is left after one attempt's time", async () => {
  const watched = new Watched();
  await watched.open("a");
  const first = watched.stream;
  await watched.etcd.clock.advance(499);
  expect(watched.stream).toBe(first);
  await watched.etcd.clock.advance(1);
  expect(first.canceled).toBe(true);
  expect(watched.stream.endpoint).not.toBe(first.endpoint);
});

test("a watch that is not permitted is tried once more with a new token, then ends", async () => {
  let tokens = 0;
  const etcd = new FakeEtcd(() => ({ answer: { token: `t${++tokens}` } }));
  const watched = new Watched(etcd, { user: "app", password: "s3cret" });
  const denied = {
    watchId: 1n,
    created: true,
    canceled: true,
    cancelReason: "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
  };
  await watched.open("a");
  // Old tokens now and then, over a long life, are no denial.
  for (let round = 1; round <= 3; round++) {
    watched.stream.tell(denied);
    await etcd.clock.advance(100);
    expect(watched.stream.metadata).toMatchObject({ token: `t${round + 1}` });
    watched.stream.tell({ watchId: 1n, created: true });
  }
  expect(watched.told).toEqual([]);
  watched.stream.tell(denied);
  await etcd.clock.advance(100);
  watched.stream.tell(denied);
  expect(watched.told).toEqual(["a PERMISSION_DENIED"]);
  await watched.client.close();
  expect(etcd.clock.pending).toBe(0);
});

test("credentials that etcd refuses end every watch, and so do missing ones", async () => {
  const refusing = new FakeEtcd(() =>
    says("etcdserver: authentication failed, invalid user ID or password", 3),
  );
  const wrong = new Watched(refusing, { user: "app", password: "s3cret" });
  await wrong.open("a");
  expect(wrong.told).toEqual(["a AUTH_FAILED"]);

  const none = new Watched();
  await none.open("a");
  none.stream.tell({
    watchId: 1n,
    created: true,
    canceled: true,
    cancelReason: "etcdserver: user name is empty",
  });
  expect(none.told).toEqual(["a AUTH_FAILED"]);
  expect(none.etcd.clock.pending).toBe(0);
});

test("while authentication finds no endpoint the watch waits, and opens when it does", async () => {
  let up = false;
  const etcd = new FakeEtcd(() => (up ? { answer: { token: "t" } } : says("connect ECONNREFUSED")));
  const watched = new Watched(etcd, { user: "app", password: "s3cret" });
  await watched.open("a");
  await etcd.clock.advance(30_000);
  expect(etcd.streams).toEqual([]);
  up = true;
  await etcd.clock.advance(5_000);
  expect(watched.asked).toEqual(["1@10"]);
});

test("a watch that falls deaf goes on over another stream", async () => {
  const watched = new Watched();
  const watcher = watched.client.openWatcher();
  watcher.open({ key: "a", startRevision: 3n }, { events: () => {}, canceled: () => {} });
  await watched.etcd.clock.advance(0);
  watcher.restart();
  await watched.etcd.clock.advance(0);
  expect(watched.etcd.streams.map(({ canceled }) => canceled)).toEqual([true, false]);
  watcher.close();
  watcher.close();
  watcher.restart();
  watcher.open({ key: "a" }, { events: () => {}, canceled: () => {} });
  await watched.etcd.clock.advance(10_000);
  expect(watched.etcd.streams).toHaveLength(2);
  expect(watched.etcd.clock.pending).toBe(0);
});

test("closing the client closes every watcher", async () => {
  const watched = new Watched();
  await watched.open("a");
  await watched.client.close();
  expect(watched.stream.canceled).toBe(true);
  await watched.etcd.clock.advance(10_000);
  expect(watched.etcd.streams).toHaveLength(1);
  expect(watched.etcd.clock.pending).toBe(0);
});

test("a move of the requests to another endpoint takes the watch along only if its own fell silent", async () => {
  const etcd = new FakeEtcd(({ endpoint }) => (endpoint === "b:1" ? "silence" : { answer: header(1n) }));
  const watched = new Watched(etcd);
  await watched.open("a");
  expect(watched.stream.endpoint).toBe("b:1");
  watched.stream.tell({ watchId: 1n, created: true });
  const range = watched.client.range("x");
  await etcd.clock.advance(500);
  await range;
  await etcd.clock.advance(0);
  expect(etcd.streams.map(({ endpoint }) => endpoint)).toEqual(["b:1", "c:1"]);
});
