import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { electionHandlers } from "../../src/devserver/election-service.ts";
import { lockHandlers } from "../../src/devserver/lock-service.ts";
import { Store } from "../../src/devserver/store.ts";
import { CampaignRequestSchema } from "../../src/etcd/gen/v3election_pb.ts";
import { LockRequestSchema } from "../../src/etcd/gen/v3lock_pb.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const name = bytes("e");
const forever = new AbortController().signal;

function open() {
  const store = new Store({ clock: new ManualClock() });
  const campaign = (lease: bigint, signal: AbortSignal = forever) =>
    electionHandlers(store).campaign(
      create(CampaignRequestSchema, { name, lease, value: bytes("v") }),
      signal,
    );
  const lock = (lease: bigint, signal: AbortSignal = forever) =>
    lockHandlers(store).lock(create(LockRequestSchema, { name, lease }), signal);
  for (const ID of [0xan, 0xbn, 0xcn]) store.leaseGrant({ ID, TTL: 60n });
  const keys = (): string[] =>
    store
      .range({ key: bytes("e/"), rangeEnd: bytes("e0") })
      .kvs.map(({ key }) => Buffer.from(key).toString());
  return { store, campaign, lock, keys };
}

test("candidates lead in the order of their keys", async () => {
  const { store, campaign, keys } = open();
  const order: string[] = [];
  const leading = [0xan, 0xbn, 0xcn].map(async (lease) => {
    await campaign(lease);
    order.push(lease.toString(16));
    store.leaseRevoke({ ID: lease });
  });
  expect(keys()).toEqual(["e/a", "e/b", "e/c"]);
  await Promise.all(leading);
  expect(order).toEqual(["a", "b", "c"]);
  expect(keys()).toEqual([]);
});

test("a campaign given up takes its own key away, and nobody else's", async () => {
  const { campaign, keys } = open();
  await campaign(0xan);
  const abort = new AbortController();
  const second = campaign(0xbn, abort.signal);
  const third = campaign(0xcn);
  abort.abort();
  await expect(second).rejects.toThrow("context canceled");
  expect(keys()).toEqual(["e/a", "e/c"]);
  void third;
});

test("a lock given up takes its key away, and one without a key is not given", async () => {
  const { store, lock, keys } = open();
  await lock(0xan);
  const abort = new AbortController();
  const second = lock(0xbn, abort.signal);
  const third = lock(0xcn);
  abort.abort();
  await expect(second).rejects.toThrow("context canceled");
  expect(keys()).toEqual(["e/a", "e/c"]);
  store.leaseRevoke({ ID: 0xcn });
  store.leaseRevoke({ ID: 0xan });
  await expect(third).rejects.toThrow("mutex: session is expired");
});

test("whoever waits is told when the store closes", async () => {
  const { store, campaign, lock } = open();
  await campaign(0xan);
  const waiting = [campaign(0xbn), lock(0xcn)];
  store.close();
  for (const one of waiting) await expect(one).rejects.toMatchObject({ code: 14 });
});
