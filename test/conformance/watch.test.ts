import { expect, test } from "vitest";
import { toText } from "../../src/etcd/bytes.ts";
import { type Event, Event_EventType } from "../../src/etcd/gen/etcd_pb.ts";
import { deleteOp, putOp } from "../../src/etcd/ops.ts";
import type { WatchEvents } from "../../src/etcd/watch.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { onEveryStore } from "./stores.ts";

onEveryStore("watch", (store) => {
  test("a watch from an old revision gives what happened since, then what happens", async () => {
    const etcd = store.client();
    const key = store.key();
    const startRevision = revisionOf(await etcd.put(key, "1"));
    await etcd.put(key, "2");
    const watch = iterate(etcd.watch({ key, startRevision }));
    expect([await watch.next(), await watch.next()].flatMap(told)).toEqual(["PUT 1", "PUT 2"]);
    await etcd.put(key, "3");
    await etcd.delete(key);
    expect([await watch.next(), await watch.next()].flatMap(told)).toEqual(["PUT 3", "DELETE "]);
    await watch.end();
  });

  test("all events of a transaction come together, in whole revisions", async () => {
    const etcd = store.client();
    const prefix = store.key();
    const startRevision = revisionOf(await etcd.put(`${prefix}a`, "0")) + 1n;
    const watch = iterate(etcd.watch({ key: prefix, prefix: true, startRevision }));
    const revision = revisionOf(
      await etcd.txn({
        success: [putOp(`${prefix}b`, "1"), deleteOp(`${prefix}a`), putOp(`${prefix}c`, "2")],
      }),
    );
    const batch = await watch.next();
    expect(batch.revision).toBe(revision);
    expect(told(batch).sort()).toEqual(["DELETE ", "PUT 1", "PUT 2"]);
    await watch.end();
  });

  test("a prefix gives its keys' events alone, a single key its own", async () => {
    const etcd = store.client();
    const prefix = store.key();
    const startRevision = revisionOf(await etcd.put("/elsewhere", "0")) + 1n;
    const all = iterate(etcd.watch({ key: prefix, prefix: true, startRevision }));
    const one = iterate(etcd.watch({ key: `${prefix}b`, startRevision }));
    const part = iterate(etcd.watch({ key: `${prefix}b`, rangeEnd: `${prefix}d`, startRevision }));
    await etcd.put("/elsewhere", "0");
    for (const name of ["a", "b", "c", "d"]) await etcd.put(`${prefix}${name}`, name);
    expect(await take(all, 4)).toEqual(["PUT a", "PUT b", "PUT c", "PUT d"]);
    expect(await take(one, 1)).toEqual(["PUT b"]);
    expect(await take(part, 2)).toEqual(["PUT b", "PUT c"]);
    for (const watch of [all, one, part]) await watch.end();
  });

  test("what was there before comes with the event, if asked for", async () => {
    const etcd = store.client();
    const key = store.key();
    const startRevision = revisionOf(await etcd.put(key, "old")) + 1n;
    await etcd.put(key, "new");
    await etcd.delete(key);
    for (const prevKv of [true, false]) {
      const watch = iterate(etcd.watch({ key, startRevision, prevKv }));
      const events = [...(await watch.next()).events, ...(await watch.next()).events];
      const before = events.map((event) => (event.prevKv === undefined ? "" : toText(event.prevKv.value)));
      expect(before).toEqual(prevKv ? ["old", "new"] : ["", ""]);
      await watch.end();
    }
  });

  test("a revision too large for one message comes whole", async () => {
    const etcd = store.client();
    const prefix = store.key();
    const startRevision = revisionOf(await etcd.put(prefix, "0")) + 1n;
    // Each revision fits into a request; with what was there before, the events do not fit into a message.
    const value = (fill: number): Uint8Array => new Uint8Array(180_000).fill(fill);
    const puts = (fill: number): ReturnType<typeof putOp>[] =>
      Array.from({ length: 8 }, (_, at) => putOp(`${prefix}${at}`, value(fill)));
    const watch = iterate(etcd.watch({ key: prefix, prefix: true, startRevision, prevKv: true }));
    for (const fill of [1, 2]) {
      await etcd.txn({ success: puts(fill) });
      const { events } = await watch.next();
      expect(events.map(({ kv }) => kv?.value.length)).toEqual(Array.from({ length: 8 }, () => 180_000));
      expect(events.every(({ kv }) => kv?.value.every((byte) => byte === fill))).toBe(true);
    }
    await watch.end();
  });

  test("a hundred watches share a stream, and each hears its own", async () => {
    const etcd = store.client();
    const prefix = store.key();
    const startRevision = revisionOf(await etcd.put(prefix, "0")) + 1n;
    const watches = Array.from({ length: 100 }, (_, at) =>
      iterate(etcd.watch({ key: `${prefix}${at}`, startRevision })),
    );
    const first = watches.map((watch) => watch.next());
    await Promise.all(watches.map((_, at) => etcd.put(`${prefix}${at}`, `${at}`)));
    expect((await Promise.all(first)).flatMap(told)).toEqual(watches.map((_, at) => `PUT ${at}`));
    for (const watch of watches) await watch.end();
  });

  test("a watch opened and closed at once disturbs no other", async () => {
    const etcd = store.client();
    const key = store.key();
    const startRevision = revisionOf(await etcd.put(key, "0")) + 1n;
    const staying = iterate(etcd.watch({ key, startRevision }));
    const first = staying.next();
    const given = new AbortController();
    const going = iterate(etcd.watch({ key, startRevision }, { signal: given.signal }));
    const none = going.next();
    given.abort();
    await expect(none).rejects.toBe(given.signal.reason);
    await etcd.put(key, "1");
    expect(told(await first)).toEqual(["PUT 1"]);
    await staying.end();
  });

  test("a watch whose revisions were compacted ends with COMPACTED, and others on its stream go on", async () => {
    const etcd = store.client();
    const key = store.key();
    const startRevision = revisionOf(await etcd.put(key, "1"));
    await etcd.put(key, "2");
    const last = revisionOf(await etcd.put(key, "3"));
    await etcd.compact(last);
    const good = iterate(etcd.watch({ key, startRevision: last }));
    expect(told(await good.next())).toEqual(["PUT 3"]);
    const late = iterate(etcd.watch({ key, startRevision }));
    await expect(late.next()).rejects.toMatchObject({ code: "COMPACTED" });
    await etcd.put(key, "4");
    expect(told(await good.next())).toEqual(["PUT 4"]);
    await good.end();
  });

  test("a range that is empty ends the watch for good, and no other", async () => {
    const etcd = store.client();
    const key = store.key();
    const startRevision = revisionOf(await etcd.put(key, "0")) + 1n;
    const good = iterate(etcd.watch({ key, startRevision }));
    const first = good.next();
    const bad = iterate(etcd.watch({ key: `${key}b`, rangeEnd: `${key}a`, startRevision }));
    await expect(bad.next()).rejects.toMatchObject({ code: "ETCD_REFUSED" });
    await etcd.put(key, "1");
    expect(told(await first)).toEqual(["PUT 1"]);
    await good.end();
  });

  test("after a broken connection a watch goes on where it was, without loss or repetition", async () => {
    await using proxy = await TcpProxy.start({ target: store.endpoint });
    const etcd = store.client();
    const cut = store.client({ endpoints: [proxy.endpoint], attemptTimeoutMs: 500 });
    const key = store.key();
    const startRevision = revisionOf(await etcd.put(key, "0"));
    const watch = iterate(cut.watch({ key, startRevision }));
    const seen = [...told(await watch.next())];
    for (let round = 0; round < 5; round++) {
      await etcd.put(key, `${3 * round + 1}`);
      if (round === 2) await proxy.refuse();
      proxy.resetAll();
      await etcd.put(key, `${3 * round + 2}`);
      await proxy.heal();
      await etcd.put(key, `${3 * round + 3}`);
      for (let at = 0; at < 3; at++) seen.push(...told(await watch.next()));
    }
    expect(seen).toEqual(Array.from({ length: 16 }, (_, at) => `PUT ${at}`));
    await watch.end();
  });

  test("a watch that has seen no event yet loses none over a broken connection", async () => {
    await using proxy = await TcpProxy.start({ target: store.endpoint });
    const etcd = store.client();
    const cut = store.client({ endpoints: [proxy.endpoint], attemptTimeoutMs: 500 });
    const key = store.key();
    await etcd.put(key, "before");
    const startRevision = revisionOf(await etcd.put(`${key}other`, ""));
    const seen: string[] = [];
    const watcher = cut.openWatcher();
    watcher.open({ key }, { events: ({ events }) => seen.push(...events.map(text)), canceled: () => {} });
    // etcd takes requests in their order: when the second watch hears, the first one stands.
    await new Promise<void>((resolve) => {
      const other = { key: `${key}other`, startRevision };
      watcher.open(other, { events: () => resolve(), canceled: () => {} });
    });
    await proxy.refuse();
    proxy.resetAll();
    await etcd.put(key, "meanwhile");
    await proxy.heal();
    await etcd.put(key, "after");
    await expect.poll(() => seen, { timeout: 5_000 }).toEqual(["PUT meanwhile", "PUT after"]);
  });

  test("a reader too slow for thousands of revisions misses none", async () => {
    const etcd = store.client();
    const key = store.key();
    const startRevision = revisionOf(await etcd.put(key, "0"));
    const watch = iterate(etcd.watch({ key, startRevision }));
    expect(told(await watch.next())).toEqual(["PUT 0"]);
    for (let round = 0; round < 25; round++) {
      // On a starved machine a ping may go unanswered for a second, which costs the connection and the puts on it.
      await Promise.allSettled(Array.from({ length: 100 }, () => etcd.put(key, "x")));
    }
    const last = (await etcd.range(key)).kvs[0]?.modRevision ?? 0n;
    // Far beyond what waits for a reader, so that the watch was closed and opened again.
    expect(last - startRevision).toBeGreaterThan(2_000n);
    for (let revision = startRevision + 1n; revision <= last; revision++) {
      expect((await watch.next()).revision).toBe(revision);
    }
    await watch.end();
  });

  test("closing the client ends every watch with CLOSED", async () => {
    const etcd = store.client();
    const key = store.key();
    const startRevision = revisionOf(await etcd.put(key, "0"));
    const watch = iterate(etcd.watch({ key, startRevision }));
    await watch.next();
    const next = watch.next();
    await etcd.close();
    await expect(next).rejects.toMatchObject({ code: "CLOSED" });
    await expect(iterate(etcd.watch({ key })).next()).rejects.toMatchObject({ code: "CLOSED" });
  });

  test("what cannot be watched is refused before anything is sent", () => {
    const etcd = store.client();
    const key = 5 as unknown as string;
    const startRevision = 1 as unknown as bigint;
    expect(() => etcd.watch({ key })).toThrow("a key or value must be a string or a Uint8Array, got 5");
    expect(() => etcd.watch({ key: "a", startRevision })).toThrow(
      "startRevision must be a bigint from 0 to 2^63 - 1, got 1",
    );
  });
});

interface Iteration {
  next(): Promise<WatchEvents>;
  end(): Promise<void>;
}

function iterate(events: AsyncIterable<WatchEvents>): Iteration {
  const iterator = events[Symbol.asyncIterator]();
  return {
    next: async () => {
      const { value, done } = await iterator.next();
      if (done === true) throw new Error("the iteration is over");
      return value;
    },
    end: async () => {
      await iterator.return?.();
    },
  };
}

const revisionOf = ({ header }: { readonly header?: { readonly revision: bigint } | undefined }): bigint =>
  header?.revision ?? 0n;

const text = ({ type, kv }: Event): string =>
  `${type === Event_EventType.PUT ? "PUT" : "DELETE"} ${kv === undefined ? "" : toText(kv.value)}`;

const told = ({ events }: WatchEvents): string[] => events.map(text);

async function take(watch: Iteration, count: number): Promise<string[]> {
  const all: string[] = [];
  while (all.length < count) all.push(...told(await watch.next()));
  return all;
}
