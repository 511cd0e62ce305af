import { describe, expect, test } from "vitest";
import { handover } from "../../src/steering/handover.ts";
import { collect, election } from "../member/world.ts";
import { Stage } from "./stage.ts";

/** Long enough for everybody to have made room who will. */
const restMs = 10_000;

describe("before the lead can pass to a lower priority", () => {
  test("the first in waiting makes room, until the highest comes first", async () => {
    const stage = new Stage();
    const all = await stage.members({
      a: {},
      b: { priority: 10 },
      c: { priority: 20 },
      d: { priority: 200 },
    });
    const seen = collect(all.b.member);
    await stage.advance(restMs);
    expect(stage.line.slice(0, 2)).toEqual(["a", "d"]);
    expect(stage.line.toSorted()).toEqual(["a", "b", "c", "d"]);
    expect(all.a.member.role).toBe("leader");
    expect(seen.map(({ cause }) => cause)).toContain("handover");
    // And then nobody moves any more.
    const { line } = stage;
    await stage.advance(60_000);
    expect(stage.line).toEqual(line);
    await stage.until(all.a.member.leave());
    expect(all.d.member.role).toBe("leader");
    await stage.end(all);
  });

  test("equals keep their places, and one who says nothing counts as 100", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: {}, b: {}, c: { priority: 100 }, d: {} });
    await stage.stranger("go");
    await stage.advance(restMs);
    expect(stage.line).toEqual(["a", "b", "c", "d", "go"]);
    await stage.end(all);
  });

  test("one below 100 makes room for a stranger, one above does not", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: {}, low: { priority: 99 } });
    await stage.stranger("go");
    await stage.advance(restMs);
    expect(stage.line).toEqual(["a", "go", "low"]);
    await stage.end(all);
  });

  test("nothing moves while paused, and everything after it", async () => {
    const stage = new Stage();
    await stage.pause();
    const all = await stage.members({ a: {}, b: { priority: 10 }, c: {} });
    await stage.advance(restMs);
    expect(stage.line).toEqual(["a", "b", "c"]);
    await stage.resume();
    await stage.advance(restMs);
    expect(stage.line).toEqual(["a", "c", "b"]);
    await stage.end(all);
  });

  test("the leader itself stays, whatever its priority", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: { priority: 1 }, b: {} });
    await stage.advance(600_000);
    expect(stage.line).toEqual(["a", "b"]);
    await stage.end(all);
  });

  test("but hands over, with switchBackAfterMs, to a higher one that has stood for so long", async () => {
    const stage = new Stage();
    const all = await stage.members({
      a: { priority: 1, switchBackAfterMs: 30_000 },
      b: { priority: 1 },
      c: {},
    });
    await stage.advance(29_000);
    expect(all.a.member.role).toBe("leader");
    await stage.advance(5_000);
    expect([all.c.member.role, stage.line[0]]).toEqual(["leader", "c"]);
    await stage.advance(restMs);
    expect(stage.line.toSorted()).toEqual(["a", "b", "c"]);
    await stage.end(all);
  });

  test("and not while paused", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: { priority: 1, switchBackAfterMs: 1_000 } });
    await stage.pause();
    const rest = await stage.members({ b: {} });
    await stage.advance(60_000);
    expect(all.a.member.role).toBe("leader");
    await stage.resume();
    await stage.advance(5_000);
    expect(rest.b.member.role).toBe("leader");
    await stage.end({ ...all, ...rest });
  });

  test.each([-1, 256, 1.5, "high", Number.NaN])("a priority of %s is refused", async (priority) => {
    const stage = new Stage();
    await expect(stage.join("a", { priority: priority as number })).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringMatching(/^priority must be a whole number from 0 to 255/),
    });
  });
});

describe("a witness", () => {
  test("shows its details and the leader, has no key, and never leads", async () => {
    const stage = new Stage();
    const all = await stage.members({ w: { candidate: false, zone: "dc3" } });
    const witness = all.w.member;
    expect([witness.role, witness.phase, witness.leader, stage.line]).toEqual([
      "standby",
      "outside",
      undefined,
      [],
    ]);
    const rest = await stage.members({ a: {} });
    expect([witness.leader?.id, witness.line.map(({ id }) => id)]).toEqual(["a", ["a"]]);
    await stage.until(rest.a.member.leave());
    await stage.advance(60_000);
    expect([witness.role, stage.line, stage.leases.length]).toEqual(["standby", [], 1]);
    expect(stage.keys).toHaveLength(1);
    // Its lease may be lost, and it is there again.
    stage.store.leaseRevoke({ ID: stage.leases[0] ?? 0n });
    await stage.advance(15_000);
    expect(stage.keys).toHaveLength(1);
    await stage.end(all);
    expect([stage.keys, stage.leases, stage.pending]).toEqual([[], [], 0]);
  });

  test("can have the leader hand over", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: {}, b: {}, w: { candidate: false } });
    const done = await stage.until(all.w.member.handover());
    expect(done).toMatchObject({ from: { id: "a" }, to: { id: "b" } });
    await stage.end(all);
  });

  test("is no candidate to step over for, nor counted as standing by", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: {}, w: { candidate: false } });
    await expect(stage.until(handover(stage.outside, election))).rejects.toThrow(/nobody stands by/);
    await stage.end(all);
  });
});
