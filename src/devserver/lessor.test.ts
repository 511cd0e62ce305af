import { expect, test } from "vitest";
import { ManualClock } from "../testing/manual-clock.ts";
import { Store } from "./store.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const keys = (store: Store): string[] =>
  store.range({ key: bytes("\0"), rangeEnd: bytes("\0") }).kvs.map(({ key }) => Buffer.from(key).toString());

function storeWithLease(ttlSeconds: bigint): { clock: ManualClock; store: Store } {
  const clock = new ManualClock();
  const store = new Store({ clock });
  store.leaseGrant({ ID: 1n, TTL: ttlSeconds });
  store.put({ key: bytes("a"), lease: 1n });
  return { clock, store };
}

test("a lease that is not kept alive ends at the first scan after its TTL", async () => {
  const { clock, store } = storeWithLease(5n);
  await clock.advance(4_999);
  expect(keys(store)).toEqual(["a"]);
  await clock.advance(1);
  expect(keys(store)).toEqual([]);
});

test("scans come every 500 ms from the start of the store, so a lease may outlive its TTL by as much", async () => {
  const clock = new ManualClock();
  const store = new Store({ clock });
  await clock.advance(1);
  store.leaseGrant({ ID: 1n, TTL: 5n });
  store.put({ key: bytes("a"), lease: 1n });
  await clock.advance(5_498);
  expect(keys(store)).toEqual(["a"]);
  expect(store.leaseTimeToLive({ ID: 1n }).TTL).toBe(0n);
  await clock.advance(1);
  expect(keys(store)).toEqual([]);
});

test("a TTL below 2 s is raised to it", async () => {
  const { clock, store } = storeWithLease(1n);
  await clock.advance(1_999);
  expect(keys(store)).toEqual(["a"]);
  await clock.advance(1);
  expect(keys(store)).toEqual([]);
});

test("a keepalive gives the full TTL again", async () => {
  const { clock, store } = storeWithLease(5n);
  await clock.advance(4_000);
  expect(store.leaseKeepAlive({ ID: 1n }).TTL).toBe(5n);
  await clock.advance(4_999);
  expect(keys(store)).toEqual(["a"]);
  await clock.advance(501);
  expect(keys(store)).toEqual([]);
  expect(store.leaseKeepAlive({ ID: 1n }).TTL).toBe(0n);
});

test("a keepalive after the TTL does not revive a lease, even before the scan", () => {
  const { clock, store } = storeWithLease(5n);
  clock.jump(5_100);
  expect(keys(store)).toEqual(["a"]);
  expect(store.leaseKeepAlive({ ID: 1n }).TTL).toBe(0n);
  expect(keys(store)).toEqual([]);
});

test("a shorter lease is not overlooked beside a longer one", async () => {
  const { clock, store } = storeWithLease(60n);
  store.leaseGrant({ ID: 2n, TTL: 2n });
  store.put({ key: bytes("b"), lease: 2n });
  await clock.advance(2_000);
  expect(keys(store)).toEqual(["a"]);
  await clock.advance(58_000);
  expect(keys(store)).toEqual([]);
});

test("each lease that ends is a revision of its own, the earlier end first", async () => {
  const clock = new ManualClock();
  const store = new Store({ clock });
  store.leaseGrant({ ID: 9n, TTL: 2n });
  store.put({ key: bytes("first/b"), lease: 9n });
  store.put({ key: bytes("first/a"), lease: 9n });
  clock.jump(100);
  store.leaseGrant({ ID: 1n, TTL: 2n });
  store.put({ key: bytes("second"), lease: 1n });
  const { revision } = store;
  await clock.advance(3_000);
  expect(store.revision).toBe(revision + 2n);
  expect(
    store
      .range({ key: bytes("\0"), rangeEnd: bytes("\0"), revision: revision + 1n })
      .kvs.map(({ key }) => Buffer.from(key).toString()),
  ).toEqual(["second"]);
});

test("a key follows its last lease", async () => {
  const { clock, store } = storeWithLease(5n);
  store.leaseGrant({ ID: 2n, TTL: 60n });
  store.put({ key: bytes("a"), lease: 2n });
  store.put({ key: bytes("free"), lease: 1n });
  store.put({ key: bytes("free") });
  await clock.advance(5_500);
  expect(keys(store)).toEqual(["a", "free"]);
  expect(store.leaseTimeToLive({ ID: 2n, keys: true }).keys).toEqual([bytes("a")]);
});

test("a change of the raft leader gives every lease its full TTL again", async () => {
  const { clock, store } = storeWithLease(5n);
  await clock.advance(4_900);
  store.refillLeases();
  await clock.advance(4_900);
  expect(keys(store)).toEqual(["a"]);
  await clock.advance(600);
  expect(keys(store)).toEqual([]);
});

test("leases that are over can be ended without waiting for the scan", () => {
  const { clock, store } = storeWithLease(5n);
  clock.jump(5_000);
  store.expireLeases();
  expect(keys(store)).toEqual([]);
});

test("leases that are found over after a suspension end once time goes on", async () => {
  const { clock, store } = storeWithLease(5n);
  clock.jump(600_000);
  expect(keys(store)).toEqual(["a"]);
  await clock.advance(500);
  expect(keys(store)).toEqual([]);
});

test("without leases no timer waits", async () => {
  const { clock, store } = storeWithLease(5n);
  expect(clock.pending).toBe(1);
  store.leaseRevoke({ ID: 1n });
  await clock.advance(6_000);
  expect(clock.pending).toBe(0);
});

test("ids of its own are positive, beyond 2^53, and never those of living leases", () => {
  const store = new Store({ clock: new ManualClock() });
  const first = store.leaseGrant({ TTL: 5n }).ID;
  store.leaseGrant({ ID: first + 1n, TTL: 5n });
  const second = store.leaseGrant({ TTL: 5n }).ID;
  expect(first).toBeGreaterThan(2n ** 53n);
  expect(second).toBe(first + 2n);
  expect(second).toBeLessThan(2n ** 63n);
});
