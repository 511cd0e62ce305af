import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { grpc } from "../etcd/failure.ts";
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  type RangeResponse,
  type WatchRequest,
  WatchRequestSchema,
  type WatchResponse,
} from "../etcd/gen/etcd_pb.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import type { StatusError } from "./status-error.ts";
import { Store, type StoreOptions } from "./store.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const open = (options: StoreOptions = {}): Store => new Store({ clock: new ManualClock(), ...options });
const put = (store: Store, key: string, value = "v", lease = 0n) =>
  store.put({ key: bytes(key), value: bytes(value), lease });
const all = { key: bytes("\0"), rangeEnd: bytes("\0") };
const watchFrom = (startRevision: bigint, more: { progressNotify?: boolean } = {}): WatchRequest =>
  create(WatchRequestSchema, {
    requestUnion: { case: "createRequest", value: { ...all, startRevision, ...more } },
  });
const shown = ({ kvs }: RangeResponse): string[] =>
  kvs.map(({ key, value }) => `${Buffer.from(key)}=${Buffer.from(value)}`);
const unavailable = expect.objectContaining({ code: grpc.unavailable });

test("every write makes one revision, and old revisions can be read", () => {
  const store = open();
  expect(put(store, "a", "1").header?.revision).toBe(2n);
  put(store, "b", "1");
  put(store, "a", "2");
  store.deleteRange(all);
  expect(store.revision).toBe(5n);
  expect([2n, 3n, 4n, 5n].map((revision) => shown(store.range({ ...all, revision })))).toEqual([
    ["a=1"],
    ["a=1", "b=1"],
    ["a=2", "b=1"],
    [],
  ]);
});

test("a deletion of nothing makes no revision", () => {
  const store = open();
  expect(store.deleteRange(all).header?.revision).toBe(1n);
});

test("a refused transaction leaves nothing behind", () => {
  const store = open();
  const request = { case: "requestPut", value: { key: bytes("a"), lease: 0n } } as const;
  const withLease = { case: "requestPut", value: { key: bytes("b"), lease: 7n } } as const;
  expect(() => store.txn({ success: [{ request }, { request: withLease }] })).toThrow(
    "etcdserver: requested lease not found",
  );
  expect(store.range(all).count).toBe(0n);
  expect(store.revision).toBe(1n);
});

test("what the caller does to its buffers afterwards does not reach the store", () => {
  const store = open();
  const key = bytes("a");
  const value = bytes("1");
  store.put({ key, value });
  key[0] = 0;
  value[0] = 0;
  expect(shown(store.range(all))).toEqual(["a=1"]);
});

test("a refusal carries etcd's code and words", () => {
  const store = open();
  const refused = expect.objectContaining({
    code: 11,
    message: "etcdserver: mvcc: required revision is a future revision",
  });
  expect(() => store.range({ ...all, revision: 9n })).toThrow(refused as StatusError);
});

test("a store can start above the revisions of an earlier one, which count as compacted", () => {
  const store = open({ firstRevision: 1_000n });
  expect(() => store.range({ ...all, revision: 999n })).toThrow("compacted");
  expect(shown(store.range({ ...all, revision: 1_000n }))).toEqual([]);
  expect(put(store, "a").header?.revision).toBe(1_001n);
  const answers: WatchResponse[] = [];
  const stream = store.watch({ send: (answer) => answers.push(answer), end: () => {} });
  stream.handle(watchFrom(999n));
  expect(answers[1]).toMatchObject({ canceled: true, compactRevision: 1_000n });
});

test("a revision is announced before it is used", () => {
  const announced: bigint[] = [];
  const store = open({
    onRevision: (revision) => {
      announced.push(revision);
      expect(store.revision).toBe(revision - 1n);
    },
  });
  put(store, "a");
  put(store, "b");
  expect(announced).toEqual([2n, 3n]);
});

test("a write from within a watch follows the present one, for every stream and in every header", () => {
  const store = open();
  const seen: [string, bigint][] = [];
  const follow = (name: string, then: () => void): void => {
    const send = ({ events }: WatchResponse): void => {
      for (const { kv } of events) seen.push([name, kv?.modRevision ?? 0n]);
      if (events.length > 0) then();
    };
    store.watch({ send, end: () => {} }).handle(watchFrom(0n));
  };
  let answered = false;
  follow("first", () => {
    if (!answered) put(store, "answer");
    answered = true;
  });
  follow("second", () => {});
  expect(put(store, "question").header?.revision).toBe(2n);
  expect(seen).toEqual([
    ["first", 2n],
    ["second", 2n],
    ["first", 3n],
    ["second", 3n],
  ]);
});

test("a restore brings back data, leases and revision, and breaks every stream", async () => {
  const clock = new ManualClock();
  const store = open({ clock });
  store.leaseGrant({ ID: 7n, TTL: 10n });
  put(store, "a", "1", 7n);
  const snapshot = store.snapshot();
  put(store, "a", "2");
  put(store, "b", "1");
  store.compact({ revision: store.revision });
  store.leaseRevoke({ ID: 7n });
  await clock.advance(60_000);
  const ended: StatusError[] = [];
  store.watch({ send: () => {}, end: (error) => ended.push(error) }).handle(watchFrom(0n));

  store.restore(snapshot);
  expect(ended).toEqual([unavailable]);
  expect(store.revision).toBe(2n);
  expect(shown(store.range(all))).toEqual(["a=1"]);
  expect(store.leaseTimeToLive({ ID: 7n, keys: true })).toMatchObject({ TTL: 10n, keys: [bytes("a")] });
  expect(put(store, "c").header?.revision).toBe(3n);
  // The snapshot is not touched by what happens after it, and can be used again.
  store.restore(snapshot);
  expect(shown(store.range(all))).toEqual(["a=1"]);
  await clock.advance(10_500);
  expect(shown(store.range(all))).toEqual([]);
});

test("while paused it refuses requests and ends no lease, and afterwards leases live their full TTL", async () => {
  const clock = new ManualClock();
  const store = open({ clock });
  store.leaseGrant({ ID: 7n, TTL: 10n });
  put(store, "a", "1", 7n);
  await clock.advance(9_000);
  const { raftTerm } = store.header();
  store.pause();
  await clock.advance(60_000);
  for (const request of [
    () => put(store, "b"),
    () => store.range(all),
    () => store.leaseKeepAlive({ ID: 7n }),
    () => store.leaseGrant({ TTL: 10n }),
  ]) {
    expect(request).toThrow("etcdserver: no leader");
  }
  store.resume();
  await clock.advance(9_900);
  expect(shown(store.range(all))).toEqual(["a=1"]);
  expect(store.header().raftTerm).toBe(raftTerm + 1n);
  await clock.advance(600);
  expect(shown(store.range(all))).toEqual([]);
});

test("a pause ends the streams that require a leader, and leaves the others silent", () => {
  const store = open();
  const ended: string[] = [];
  store.watch({ send: () => {}, end: () => ended.push("strict") }, { requiresLeader: true });
  const answers: WatchResponse[] = [];
  const patient = { send: (answer: WatchResponse) => answers.push(answer), end: () => ended.push("patient") };
  store.watch(patient).handle(watchFrom(0n));
  store.pause();
  expect(ended).toEqual(["strict"]);
  store.resume();
  put(store, "a");
  expect(answers.at(-1)?.events).toHaveLength(1);
});

test("a closed store refuses requests, ends streams and leaves no timer", () => {
  const clock = new ManualClock();
  const store = open({ clock });
  store.leaseGrant({ TTL: 10n });
  const ended: StatusError[] = [];
  const stream = store.watch({ send: () => {}, end: (error) => ended.push(error) });
  stream.handle(watchFrom(0n, { progressNotify: true }));
  store.close();
  expect(ended).toEqual([unavailable]);
  expect(clock.pending).toBe(0);
  expect(() => put(store, "a")).toThrow("etcdserver: server stopped");
  expect(() => store.watch({ send: () => {}, end: () => {} })).toThrow("etcdserver: server stopped");
});

test("a corruption alarm stops reads and writes", () => {
  const store = open();
  const alarm = { memberId: store.memberId, alarm: AlarmType.CORRUPT };
  store.alarm({ ...alarm, action: AlarmRequest_AlarmAction.ACTIVATE });
  expect(() => store.range(all)).toThrow("etcdserver: corrupt cluster");
  expect(() => put(store, "a")).toThrow("etcdserver: corrupt cluster");
  store.alarm({ ...alarm, action: AlarmRequest_AlarmAction.DEACTIVATE });
  expect(put(store, "a").header?.revision).toBe(2n);
});
