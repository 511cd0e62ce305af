import { describe, expect, test } from "vitest";
import { toBytes } from "../../src/etcd/bytes.ts";
import { handover } from "../../src/steering/handover.ts";
import { pauseKey } from "../../src/steering/names.ts";
import { pause, readPause, resume } from "../../src/steering/pause.ts";
import { election } from "../member/world.ts";
import { Stage } from "./stage.ts";

describe("a pause", () => {
  test("stands with its reason until it is ended, and leaves nothing", async () => {
    const stage = new Stage();
    const { outside } = stage;
    expect(await readPause(outside, election)).toBeUndefined();
    expect(await resume(outside, election)).toBeUndefined();
    const told = { reason: "upgrade", by: "Ann", since: "1970-01-01T00:00:00.000Z" };
    expect(await pause(outside, election, { reason: "upgrade", by: "Ann" })).toEqual(told);
    expect(await readPause(outside, election)).toEqual(told);
    await stage.advance(3_600_000);
    expect(await resume(outside, election)).toEqual(told);
    expect([await readPause(outside, election), stage.keys, stage.leases]).toEqual([undefined, [], []]);
  });

  test("ends by itself with its lease, or before, and leaves no lease", async () => {
    const stage = new Stage();
    const { outside } = stage;
    const told = { reason: "upgrade", since: "1970-01-01T00:00:00.000Z" };
    expect(await pause(outside, election, { reason: "upgrade", forMs: 59_500 })).toEqual({
      ...told,
      remainingMs: 60_000,
    });
    await stage.advance(10_000);
    expect(await readPause(outside, election)).toMatchObject({ reason: "upgrade", remainingMs: 50_000 });
    await stage.advance(51_000);
    expect([await readPause(outside, election), stage.keys, stage.leases]).toEqual([undefined, [], []]);
    await pause(outside, election, { reason: "again", forMs: 60_000 });
    await resume(outside, election);
    expect([stage.keys, stage.leases]).toEqual([[], []]);
  });

  test("is refused where there is one, unless it is to be replaced", async () => {
    const stage = new Stage();
    const { outside } = stage;
    await pause(outside, election, { reason: "one", forMs: 60_000, by: "Ann" });
    await expect(pause(outside, election, { reason: "two", forMs: 1_000 })).rejects.toMatchObject({
      code: "REFUSED",
      message: 'paused already: "one", since 1970-01-01T00:00:00.000Z, by Ann',
    });
    expect(stage.leases).toHaveLength(1);
    await pause(outside, election, { reason: "two", replace: true });
    expect(await readPause(outside, election)).toMatchObject({ reason: "two" });
    expect(stage.leases).toEqual([]);
    // What somebody else has put there counts, too.
    stage.store.put({ key: toBytes(pauseKey(election)), value: toBytes("not JSON") });
    expect(await readPause(outside, election)).toEqual({ reason: "", since: "" });
  });

  test.each([
    [{ reason: "" }, /^reason must be text of 1 to 1024 characters/],
    [{ reason: "x".repeat(1_025) }, /^reason/],
    [{ reason: "x", forMs: 0 }, /^forMs/],
    [{ reason: "x", forMs: Number.NaN }, /^forMs/],
    [{ reason: "x", by: "" }, /^by/],
    [{ reason: "x", timeoutMs: -1 }, /^timeoutMs/],
  ])("with %o is wrong", async (options, message) => {
    const stage = new Stage();
    await expect(pause(stage.outside, election, options)).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringMatching(message),
    });
    expect([stage.keys, stage.leases]).toEqual([[], []]);
  });

  test("does not hold up a lease that is over, nor a member that leaves", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: {}, b: {}, c: {} });
    await stage.pause();
    stage.store.leaseRevoke({ ID: all.a.member.leader?.leaseId ?? 0n });
    await stage.advance(1_000);
    expect(all.b.member.role).toBe("leader");
    await stage.until(all.b.member.leave());
    expect(all.c.member.role).toBe("leader");
  });

  test("that comes while the way is being cleared stops the handover", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: {}, b: {}, c: {} });
    const { network } = all.a;
    // The leader learns of the request late, when it is paused already.
    network.holdEvents = true;
    const going = stage.until(handover(stage.outside, election, { to: "c" }));
    await stage.advance(300);
    await stage.pause();
    network.heal();
    await expect(going).rejects.toMatchObject({
      code: "REFUSED",
      message: expect.stringContaining("paused"),
    });
    expect(stage.line).toEqual(["a", "b", "c"]);
    await stage.end(all);
  });
});
