import { describe, expect, test } from "vitest";
import { toBytes } from "../../src/etcd/bytes.ts";
import { Changes, type MemberChange } from "../../src/member/changes.ts";
import { collect, World, watched } from "./world.ts";

const state = (position: number): MemberChange => ({
  ...{ role: "standby", phase: "waiting", leader: undefined, term: undefined, cause: undefined },
  ...{ position, skipped: 0 },
});

async function take(changes: AsyncGenerator<MemberChange, void>, count: number): Promise<MemberChange[]> {
  const taken: MemberChange[] = [];
  for (let each = 0; each < count; each++) {
    const { value, done } = await changes.next();
    if (done === true || value === undefined) break;
    taken.push(value);
  }
  return taken;
}

describe("a member's changes", () => {
  test("begin with the present state and then tell every change, of two readers to each", async () => {
    const world = new World();
    const { member: a } = await world.join("a");
    const { member: b } = await world.join("b");
    const first = collect(b);
    await world.settle();
    await a.leave();
    await world.settle();
    const second = collect(b);
    await world.settle();
    expect(first).toMatchObject([
      { role: "standby", phase: "waiting", position: 1, leader: { id: "a" }, term: undefined },
      { role: "standby", phase: "promoting", position: undefined, leader: { id: "b" } },
      {
        role: "leader",
        phase: "leading",
        position: undefined,
        leader: { id: "b" },
        term: { token: b.term?.token },
      },
    ]);
    expect(second).toMatchObject([{ role: "leader", phase: "leading" }]);
    await b.leave();
  });

  test("tell the position in line, and that the leader has another value", async () => {
    const world = new World();
    const { member: a } = await world.join("a");
    const { member: b } = await world.join("b");
    const { member: c } = await world.join("c");
    const changes = collect(c);
    await world.settle();
    await b.leave();
    await world.settle();
    const { key = "", leaseId = 0n } = a.leader ?? {};
    world.store.put({ key: toBytes(key), value: toBytes("a2"), lease: leaseId });
    await world.settle();
    expect(changes.map(({ position, leader }) => [position, leader?.id])).toEqual([
      [2, "a"],
      [1, "a"],
      [1, "a2"],
    ]);
    await Promise.all([a.leave(), c.leave()]);
  });

  test("tell an end by the clock with its cause, even if an event comes before the timer", async () => {
    const world = new World();
    const { member } = await world.join("a");
    const changes = collect(member);
    await world.settle();
    world.clock.jump(60_000);
    world.store.put({ key: toBytes("/merc/other"), value: toBytes("x") });
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
    expect(changes.slice(0, 2).map(({ phase, cause }) => [phase, cause])).toEqual([
      ["leading", undefined],
      ["demoting", "deadline"],
    ]);
    await world.advance(5_000);
    await member.leave();
  });

  test("say nothing twice", async () => {
    const changes = new Changes();
    const reading = changes.read(() => state(0), undefined);
    const taking = take(reading, 4);
    for (const position of [0, 0, 1, 1, 0]) changes.tell(state(position));
    changes.end();
    expect((await taking).map(({ position }) => position)).toEqual([0, 1, 0]);
  });

  test("take a reader who is 1024 behind to the newest, and tell how many he missed", async () => {
    const changes = new Changes();
    const reading = changes.read(() => state(0), undefined);
    expect(await take(reading, 1)).toEqual([state(0)]);
    for (let position = 1; position <= 1_500; position++) changes.tell(state(position));
    const [next, after] = await take(reading, 2);
    expect([next?.position, next?.skipped]).toEqual([1_025, 1_024]);
    expect([after?.position, after?.skipped]).toEqual([1_026, 0]);
    changes.end();
  });

  test("let go of a reader who breaks out", async () => {
    const world = new World();
    const { member } = await world.join("a");
    for await (const { phase } of member.changes()) {
      expect(phase).toBe("leading");
      break;
    }
    await member.leave();
    expect(world.pending).toBe(0);
  });

  test("end with the signal's reason", async () => {
    const world = new World();
    const { member } = await world.join("a");
    const cancel = new AbortController();
    const reason = new Error("enough");
    const reading = (async () => {
      for await (const _ of member.changes({ signal: cancel.signal }));
    })();
    const seen = watched(reading);
    await world.settle();
    cancel.abort(reason);
    await world.settle();
    expect(seen).toEqual({ state: "rejected", reason });
    await expect(member.changes({ signal: cancel.signal }).next()).rejects.toBe(reason);
    await member.leave();
  });
});
