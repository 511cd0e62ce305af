import { describe, expect, test } from "vitest";
import { Member } from "../../src/member/member.ts";
import { election, type Standing, World } from "./world.ts";

/** TTL 10 s: a leader whose key was taken away may act for up to 9750 ms more. */
const takeoverDelayMs = 10_000;
const marks = `_succession/v1/${encodeURIComponent(election)}/released/`;

/** Members of which the first has led long enough for every wait of the beginning to be over. */
async function settled(world: World, ...ids: readonly string[]): Promise<Standing[]> {
  const standings: Standing[] = [];
  for (const id of ids) standings.push(await world.join(id, { takeoverDelayMs }));
  await world.advance(20_000);
  expect(standings[0]?.member.role).toBe("leader");
  return standings;
}

function deleteKey(world: World, id: string): void {
  const key = world.keys.find((each) => each.startsWith(`${election}/`) && idOf(world, each) === id);
  world.store.deleteRange({ key: Buffer.from(key as string) });
}

function idOf(world: World, key: string): string {
  return Buffer.from(world.store.range({ key: Buffer.from(key) }).kvs[0]?.value ?? []).toString();
}

/** How long it takes until the member leads, to 100 ms. */
async function leadsAfterMs(world: World, member: Member): Promise<number> {
  for (let ms = 0; ms < 60_000; ms += 100) {
    if (member.role === "leader") return ms;
    await world.advance(100);
  }
  throw new Error("it never leads");
}

describe("with takeoverDelayMs", () => {
  test("a leader that is cut off and whose key etcd removes has stopped before its successor starts", async () => {
    const world = new World();
    const [a, b] = await settled(world, "a", "b");
    if (a === undefined || b === undefined) throw new Error("two joined");
    a.network.silent = true;
    deleteKey(world, "a");
    const seen = new Set<string>();
    for (let ms = 0; ms < 12_000; ms += 50) {
      await world.advance(50);
      seen.add(`${a.member.role}, ${b.member.role}`);
    }
    expect([...seen]).toEqual(["leader, standby", "standby, standby", "standby, leader"]);
    a.network.heal();
    await Promise.all([a.member.leave(), b.member.leave()]);
  });

  test("a successor waits after a crash, too: an expired lease leaves no mark", async () => {
    const world = new World();
    const [, b] = await settled(world, "a", "b");
    deleteKey(world, "a");
    await world.settle();
    expect(await leadsAfterMs(world, b?.member as Member)).toBe(takeoverDelayMs);
    await b?.member.leave();
  });

  test("a successor leads at once when the leader says that its work has stopped", async () => {
    const world = new World();
    const [a, b] = await settled(world, "a", "b");
    await a?.member.leave();
    await world.settle();
    expect(b?.member.role).toBe("leader");
    expect(world.keys.filter((key) => key.startsWith(marks))).toHaveLength(1);
    await b?.member.leave();
  });

  test("a mark excuses only its own key", async () => {
    const world = new World();
    const [a, b, c] = await settled(world, "a", "b", "c");
    b?.network.break();
    if (b !== undefined) b.network.silent = true;
    deleteKey(world, "b");
    await world.advance(1_000);
    await a?.member.leave();
    await world.settle();
    expect(await leadsAfterMs(world, c?.member as Member)).toBe(takeoverDelayMs - 1_000);
    b?.network.heal();
    await Promise.all([b?.member.leave(), c?.member.leave()]);
  });

  test("a mark that another key has left in the same place excuses nobody", async () => {
    const world = new World();
    const [a, b] = await settled(world, "a", "b");
    const token = a?.member.term?.token ?? 0n;
    const mark = Buffer.from(JSON.stringify({ token: Number(token) + 64 }));
    world.store.put({ key: Buffer.from(`${marks}${token % 64n}`), value: mark });
    deleteKey(world, "a");
    await world.settle();
    expect(await leadsAfterMs(world, b?.member as Member)).toBe(takeoverDelayMs);
    await Promise.all([a?.member.leave(), b?.member.leave()]);
  });

  test("a newcomer waits after its joining, for keys that ended before it came", async () => {
    const world = new World();
    const { member } = await world.join("a", { takeoverDelayMs });
    expect([member.role, member.phase]).toEqual(["standby", "waiting"]);
    expect(await leadsAfterMs(world, member)).toBe(takeoverDelayMs);
    await member.leave();
  });

  test("a member that leaves while it waits leads no more", async () => {
    const world = new World();
    const { member } = await world.join("a", { takeoverDelayMs });
    await world.advance(5_000);
    await member.leave();
    await world.advance(20_000);
    expect([member.role, member.phase, world.line]).toEqual(["standby", "outside", []]);
  });

  test("while marks cannot be read nobody leads", async () => {
    const world = new World();
    const [a, b] = await settled(world, "a", "b");
    if (b !== undefined) b.network.silent = (method) => method === "Txn";
    await a?.member.leave();
    await world.advance(5_000);
    expect(b?.member.role).toBe("standby");
    b?.network.heal();
    expect(await leadsAfterMs(world, b?.member as Member)).toBeLessThan(takeoverDelayMs - 5_000);
    await b?.member.leave();
  });

  test("without it no marks are left, and nobody waits", async () => {
    const world = new World();
    const a = await world.join("a");
    expect(a.member.role).toBe("leader");
    const b = await world.join("b");
    await a.member.leave();
    await world.settle();
    expect(b.member.role).toBe("leader");
    expect(world.keys.filter((key) => key.startsWith(marks))).toEqual([]);
    await b.member.leave();
  });

  test.each([
    [-1, 10],
    [9_000, 10],
    [Number.NaN, 10],
    [Number.POSITIVE_INFINITY, 10],
    ["10000" as unknown as number, 10],
    [1_500, 2],
  ])("%s ms with a TTL of %s s is refused", async (delay, ttlSeconds) => {
    const world = new World();
    const options = { ttlSeconds, takeoverDelayMs: delay };
    await expect(Member.join(world.options(world.network(), "a", options))).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringContaining("takeoverDelayMs must be 0, or "),
    });
  });
});
