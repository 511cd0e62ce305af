import { describe, expect, test, vi } from "vitest";
import { toBytes } from "../../src/etcd/bytes.ts";
import type { MemberChange } from "../../src/member/changes.ts";
import { collect, type Standing, World } from "./world.ts";

interface Loss {
  readonly title: string;
  readonly strike: (world: World, member: Standing) => Promise<void> | void;
  readonly cause: MemberChange["cause"];
}

const keyOf = (world: World, { member }: Standing): string =>
  member.line.find(({ id }) => id === member.id)?.key ?? world.keys[0] ?? "";

const leaseOf = ({ member }: Standing): bigint =>
  member.line.find(({ id }) => id === member.id)?.leaseId ?? 0n;

const losses: Loss[] = [
  {
    title: "its key is deleted",
    strike: (world, standing) => void world.store.deleteRange({ key: toBytes(keyOf(world, standing)) }),
    cause: "key-gone",
  },
  { title: "all keys are deleted at once", strike: (world) => world.deleteLine(), cause: "key-gone" },
  {
    title: "its key is put anew by somebody without its lease",
    strike: (world, standing) => {
      const key = toBytes(keyOf(world, standing));
      world.store.put({ key, value: toBytes("x") });
      world.store.deleteRange({ key });
    },
    cause: "key-gone",
  },
  {
    title: "its lease is revoked",
    strike: (world, standing) => void world.store.leaseRevoke({ ID: leaseOf(standing) }),
    cause: "key-gone",
  },
  {
    title: "its key is deleted while its watch says nothing",
    strike: async (world, { member, network }) => {
      network.holdEvents = true;
      world.store.deleteRange({ key: toBytes(keyOf(world, { member, network })) });
      await world.advance(4_000);
      network.heal();
    },
    cause: "key-gone",
  },
  {
    title: "its lease is revoked while its watch and its reads say nothing",
    strike: async (world, standing) => {
      standing.network.silent = (method) => method !== "LeaseKeepAlive";
      world.store.leaseRevoke({ ID: leaseOf(standing) });
      await world.advance(4_000);
      standing.network.heal();
    },
    cause: "lease-gone",
  },
  {
    title: "it was cut off for longer than its TTL",
    strike: async (world, { network }) => {
      network.silent = true;
      await world.advance(25_000);
      network.heal();
    },
    cause: "deadline",
  },
  {
    title: "nothing answers its renewals",
    strike: async (world, { network }) => {
      network.dropAnswers = (method) => method === "LeaseKeepAlive";
      await world.advance(12_000);
      network.heal();
    },
    cause: "deadline",
  },
  {
    title: "its process was asleep for a minute",
    strike: (world) => world.clock.jump(60_000),
    cause: "deadline",
  },
];

describe.each(losses)("a member returns by itself after $title", ({ strike, cause }) => {
  test("as the leader, alone", async () => {
    const world = new World();
    const standing = await world.join("a");
    const changes = collect(standing.member);
    const { term } = standing.member;
    await strike(world, standing);
    await world.advance(3_000);
    expect(term?.signal.reason).toMatchObject({ endCause: cause });
    expect(changes.some((change) => change.cause === cause)).toBe(true);
    expect([standing.member.role, world.line, world.leases.length]).toEqual(["leader", ["a"], 1]);
    expect(standing.member.term?.token).toBeGreaterThan(term?.token as bigint);
    await standing.member.leave();
    expect([world.keys, world.leases, world.pending]).toEqual([[], [], 0]);
  });

  test("as a waiter, at the end of the line, without having been told that it leads", async () => {
    const world = new World();
    const { member: leader } = await world.join("leader");
    let led = 0;
    const waiter = await world.join("waiter", {
      lead: () => {
        led++;
      },
    });
    const changes = collect(waiter.member);
    const before = leaseOf(waiter);
    await strike(world, waiter);
    await world.advance(15_000);
    const prefixWentToo = led > 0 || world.line[0] !== "leader";
    // Only where the leader lost its place, too, may the waiter come first.
    if (!prefixWentToo) {
      expect(world.line).toEqual(["leader", "waiter"]);
      expect(changes.every(({ role, phase }) => role === "standby" && phase !== "promoting")).toBe(true);
    }
    expect(leaseOf(waiter)).not.toBe(before);
    expect(world.line.toSorted()).toEqual(["leader", "waiter"]);
    await Promise.all([leader.leave(), waiter.member.leave()]);
    expect([world.keys, world.leases, world.pending]).toEqual([[], [], 0]);
  });
});

test("a waiter whose key is deleted together with its predecessor's is never told that it leads on that key", async () => {
  const world = new World();
  const { member: leader } = await world.join("leader");
  const { member: waiter } = await world.join("waiter");
  const changes = collect(waiter);
  const lost = waiter.line.find(({ id }) => id === "waiter")?.token;
  world.deleteLine();
  await world.advance(2_000);
  expect(changes.filter(({ term }) => term?.token === lost)).toEqual([]);
  expect(changes.some(({ cause }) => cause === "key-gone")).toBe(true);
  await Promise.all([leader.leave(), waiter.leave()]);
});

test("a leader names itself as the leader, however long etcd has not confirmed the line", async () => {
  const world = new World();
  const { member, network } = await world.join("a");
  const changes = collect(member);
  network.silent = true;
  await world.advance(25_000);
  expect(member.leader).toBeUndefined();
  network.heal();
  await world.advance(30_000);
  const leading = changes.filter(({ phase }) => phase === "promoting" || phase === "leading");
  expect(leading.length).toBeGreaterThanOrEqual(3);
  for (const { leader, term } of leading) {
    expect(leader?.id).toBe("a");
    expect(leader?.token).toBe(term?.token ?? leader?.token);
  }
});

test("twenty losses in a row are survived, in twenty terms with growing tokens", async () => {
  const world = new World();
  const tokens: bigint[] = [];
  const { member } = await world.join("a", {
    lead: ({ token, signal }) => {
      tokens.push(token);
      return new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    },
  });
  for (let loss = 1; loss <= 20; loss++) {
    world.deleteLine();
    await world.advance(2_100);
    expect([member.role, tokens.length]).toEqual(["leader", loss + 1]);
  }
  expect(tokens).toEqual(tokens.toSorted((a, b) => Number(a - b)));
  expect(world.leases.length).toBe(1);
  await member.leave();
});

test("a compaction while it waits, with its watch broken, is read over", async () => {
  const world = new World();
  const { member: leader } = await world.join("leader");
  const { member: waiter, network } = await world.join("waiter");
  const { member: third } = await world.join("third");
  network.silent = (method) => method === "Watch";
  network.break();
  await third.leave();
  for (let change = 0; change < 10; change++) world.store.put({ key: toBytes("/else"), value: toBytes("x") });
  world.store.compact({ revision: world.store.revision });
  network.heal();
  await world.advance(5_000);
  expect(waiter.line.map(({ id }) => id)).toEqual(["leader", "waiter"]);
  await leader.leave();
  await world.advance(100);
  expect(waiter.role).toBe("leader");
  await waiter.leave();
});

test("a store that went back ends the term, and the key that came back with it leads no more", async () => {
  const world = new World();
  const { member } = await world.join("a");
  const changes = collect(member);
  const snapshot = world.store.snapshot();
  for (let change = 0; change < 5; change++) world.store.put({ key: toBytes("/else"), value: toBytes("x") });
  await world.advance(5_000);
  const { term } = member;
  expect(term?.signal.aborted).toBe(false);
  world.store.restore(snapshot);
  await world.advance(10_000);
  expect(term?.signal.reason).toMatchObject({ endCause: "store-restored" });
  expect(changes.some(({ cause }) => cause === "store-restored")).toBe(true);
  expect([member.role, world.line, world.leases.length]).toEqual(["leader", ["a"], 1]);
  await member.leave();
});

test("onLost exit ends the process with 1 after an unwanted loss, having given back what it could", async () => {
  const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
  const world = new World();
  const { member } = await world.join("a", { onLost: "exit" });
  world.deleteLine();
  await world.settle();
  expect(exit).toHaveBeenCalledExactlyOnceWith(1);
  expect(world.leases).toEqual([]);
  exit.mockRestore();
  await member.leave();
});

test("onLost exit does not wait for work that ignores its signal", async () => {
  const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
  const world = new World();
  const { member, network } = await world.join("a", { onLost: "exit", lead: () => new Promise(() => {}) });
  network.silent = true;
  await world.advance(9_749);
  expect(exit).not.toHaveBeenCalled();
  await world.advance(2);
  expect(exit).toHaveBeenCalledExactlyOnceWith(1);
  exit.mockRestore();
  void member.leave();
  await world.advance(5_000);
});

test("onLost exit is not for work that finished or failed", async () => {
  const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
  const world = new World();
  const { member } = await world.join("a", {
    onLost: "exit",
    lead: () => {
      throw new Error("no port");
    },
  });
  await world.advance(60_000);
  expect(exit).not.toHaveBeenCalled();
  exit.mockRestore();
  await member.leave();
});
