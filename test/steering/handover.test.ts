import { describe, expect, test } from "vitest";
import type { MemberSettings } from "../../src/member/options.ts";
import { handover } from "../../src/steering/handover.ts";
import { handoverKey } from "../../src/steering/names.ts";
import { collect, election, gate } from "../member/world.ts";
import { Stage } from "./stage.ts";

const four = { a: {}, b: {}, c: {}, d: {} };

describe("a handover", () => {
  test("goes to the next in line, and the old leader comes back to the end", async () => {
    const stage = new Stage();
    const all = await stage.members(four);
    const seen = collect(all.a.member);
    const { token = 0n } = all.a.member.term ?? {};
    const done = await stage.until(handover(stage.outside, election));
    expect(done).toMatchObject({ from: { id: "a", token }, to: { id: "b" }, passed: [], accepted: true });
    expect(done.to.token).toBeGreaterThan(token);
    await stage.advance(1_000);
    expect(stage.line).toEqual(["b", "c", "d", "a"]);
    expect(all.b.member.role).toBe("leader");
    expect(seen.map(({ cause }) => cause)).toContain("handover");
    // Nothing is left of the request.
    expect(stage.keys.filter((key) => key.includes("/requests/"))).toEqual([]);
    await stage.end(all);
    expect([stage.keys, stage.leases, stage.pending]).toEqual([[], [], 0]);
  });

  test.each<[string, (key: string) => string]>([
    ["id", () => "d"],
    ["key", (key) => key],
  ])("goes to a candidate named by its %s, and those before it step behind", async (_title, name) => {
    const stage = new Stage();
    const all = await stage.members(four);
    const { key = "" } = all.a.member.line.find(({ id }) => id === "d") ?? {};
    const done = await stage.until(handover(stage.outside, election, { to: name(key) }));
    expect(done).toMatchObject({ to: { id: "d" }, passed: ["b", "c"], accepted: true });
    await stage.advance(2_000);
    expect(stage.line[0]).toBe("d");
    expect(stage.line.toSorted()).toEqual(["a", "b", "c", "d"]);
    const tokens = all.a.member.line.map(({ token }) => token) ?? [];
    expect(tokens).toEqual(tokens.toSorted((a, b) => Number(a - b)));
    await stage.end(all);
  });

  test.each([0, 11_000])(
    "with 90 candidates before the one named clears the way in batches (%i)",
    async (ms) => {
      const stage = new Stage();
      const ids = Array.from({ length: 92 }, (_, at) => `m${at}`);
      const all = await stage.members(Object.fromEntries(ids.map((id) => [id, { takeoverDelayMs: ms }])));
      await stage.advance(ms);
      const done = await stage.until(handover(stage.outside, election, { to: "m91" }));
      expect(done.passed).toEqual(ids.slice(1, -1));
      await stage.advance(3_000);
      expect(stage.line).toHaveLength(92);
      expect(stage.line[0]).toBe("m91");
      await stage.end(all);
    },
  );

  test("waits for the work, and nobody else leads meanwhile", async () => {
    const stage = new Stage();
    const stop = gate();
    const all = await stage.members({ a: { lead: () => stop.opened }, b: {} });
    const going = handover(stage.outside, election);
    await stage.advance(500);
    expect([all.a.member.role, all.b.member.role, stage.line]).toEqual(["standby", "standby", ["a", "b"]]);
    stop.open();
    expect((await stage.until(going)).to.id).toBe("b");
    await stage.end(all);
  });

  test.each<[string, "a" | "b"]>([
    ["leads", "a"],
    ["waits", "b"],
  ])("can be asked of a member that %s", async (_title, id) => {
    const stage = new Stage();
    const all = await stage.members(four);
    const done = await stage.until(all[id].member.handover({ to: "c" }));
    expect(done).toMatchObject({ from: { id: "a" }, to: { id: "c" }, passed: ["b"] });
    await stage.end(all);
  });

  test("of a member with takeoverDelayMs to one that would pass others costs no wait", async () => {
    const stage = new Stage();
    const late: Partial<MemberSettings> = { takeoverDelayMs: 11_000 };
    const all = await stage.members({ a: late, b: late, c: late });
    await stage.advance(30_000);
    expect(all.a.member.role).toBe("leader");
    await stage.until(handover(stage.outside, election, { to: "c" }));
    await stage.advance(500);
    expect(all.c.member.role).toBe("leader");
    await stage.end(all);
  });

  test("whose target goes while the work stops leaves the lead to the next in line", async () => {
    const stage = new Stage();
    const stop = gate();
    const all = await stage.members({ a: { lead: () => stop.opened }, b: {}, c: {} });
    const going = handover(stage.outside, election, { to: "b" });
    await stage.advance(200);
    void all.b.member.leave();
    await stage.advance(200);
    stop.open();
    expect(await stage.until(going)).toMatchObject({ to: { id: "c" }, accepted: true });
    await stage.end(all);
  });

  test("for a term that is over is not carried out by the next leader", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: {}, b: {}, c: {} });
    const { token = 0n } = all.a.member.term ?? {};
    await stage.until(all.a.member.leave());
    const lease = await stage.outside.leaseGrant(60);
    const value = JSON.stringify({ token: Number(token), to: "c" });
    await stage.outside.put(handoverKey(election), value, { lease: lease.ID });
    await stage.advance(5_000);
    expect([all.b.member.role, stage.line]).toEqual(["leader", ["b", "c"]]);
    await stage.outside.leaseRevoke(lease.ID);
    await stage.end(all);
  });

  test("of whose leader fails before it answers says that it did not agree", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: {}, b: {} });
    const { network } = all.a;
    network.silent = true;
    const done = await stage.until(handover(stage.outside, election));
    expect(done).toMatchObject({ to: { id: "b" }, accepted: false });
    network.heal();
    await stage.advance(3_000);
    await stage.end(all);
  });
});

describe("a handover is refused, and the leader leads on", () => {
  const refusals: readonly [string, (stage: Stage) => Promise<unknown>, string | undefined, RegExp][] = [
    ["with nobody in line", async () => {}, undefined, /nobody stands by; "a" leads on/],
    ["to itself", (stage) => stage.join("b"), "a", /"a" leads already/],
    ["to nobody known", (stage) => stage.join("b"), "x", /"x" does not stand in line; "b" does/],
    ["to a witness", (stage) => both(stage), "w", /"w" is a witness and never leads/],
    [
      "to one of two",
      (stage) => twice(stage),
      "b",
      /2 candidates are called "b": name one by its key, of \/merc/,
    ],
    [
      "past a candidate that would not come back",
      async (stage) => {
        await stage.stranger("go");
        await stage.join("b");
      },
      "b",
      /"go" would have to be passed over, and cannot be/,
    ],
    ["while paused", (stage) => paused(stage), "b", /paused: "maintenance", since 1970.*/],
  ];

  async function both(stage: Stage): Promise<void> {
    await stage.join("b");
    await stage.join("w", { candidate: false });
  }
  async function twice(stage: Stage): Promise<void> {
    await stage.join("b");
    await stage.join("b");
  }
  async function paused(stage: Stage): Promise<void> {
    await stage.join("b");
    await stage.pause();
  }

  test.each(refusals)("%s", async (_title, prepare, to, message) => {
    const stage = new Stage();
    const { member } = await stage.join("a");
    await prepare(stage);
    const before = stage.line;
    const asked = handover(stage.outside, election, to === undefined ? {} : { to });
    await expect(stage.until(asked)).rejects.toMatchObject({
      code: "REFUSED",
      message: expect.stringMatching(message),
    });
    await stage.advance(2_000);
    expect([member.role, stage.line]).toEqual(["leader", before]);
    expect(stage.keys.filter((key) => key.includes("/requests/"))).toEqual([]);
  });

  test("whose leader is a stranger, who cannot be asked", async () => {
    const stage = new Stage();
    await stage.stranger("go");
    await stage.join("b");
    await expect(stage.until(handover(stage.outside, election))).rejects.toMatchObject({
      ...{ code: "REFUSED", refusal: "stranger-leads" },
      message: expect.stringContaining('"go" leads, and cannot be asked'),
    });
  });

  test("but a stranger may be the one who is to lead", async () => {
    const stage = new Stage();
    const { member } = await stage.join("a");
    await stage.join("b");
    await stage.stranger("go");
    const done = await stage.until(handover(stage.outside, election, { to: "go" }));
    expect([done.to.id, done.passed, member.role]).toEqual(["go", ["b"], "standby"]);
  });

  test("where another term has begun than the one that was meant", async () => {
    const stage = new Stage();
    const all = await stage.members(four);
    const { token = 0n } = all.a.member.term ?? {};
    await stage.until(handover(stage.outside, election, { token }));
    const late = stage.until(handover(stage.outside, election, { token }));
    await expect(late).rejects.toThrow(/^"b" leads now, with the token \d+$/);
    expect(all.b.member.role).toBe("leader");
    await stage.end(all);
  });

  test("where nobody leads", async () => {
    const stage = new Stage();
    await expect(stage.until(handover(stage.outside, election))).rejects.toMatchObject({
      message: "nobody leads",
    });
  });

  test("while another one is under way", async () => {
    const stage = new Stage();
    const stop = gate();
    const all = await stage.members({ a: { lead: () => stop.opened }, b: {}, c: {} });
    const first = handover(stage.outside, election, { by: "Ann" });
    await stage.advance(300);
    await expect(stage.until(handover(stage.outside, election))).rejects.toMatchObject({
      message: 'another handover is under way, asked for by "Ann"',
    });
    stop.open();
    await stage.until(first);
    await stage.end(all);
  });

  test("without an answer in time: the request is withdrawn, and a leader that comes back does not act on it", async () => {
    const stage = new Stage();
    const all = await stage.members({ a: { ttlSeconds: 60 }, b: {} });
    const { network, member } = all.a;
    network.holdEvents = true;
    await expect(stage.until(handover(stage.outside, election, { timeoutMs: 4_000 }))).rejects.toMatchObject({
      code: "TIMEOUT",
      message: '"a" has not answered within 4000 ms, and leads on; the request is withdrawn',
    });
    network.heal();
    await stage.advance(5_000);
    expect([member.role, stage.line]).toEqual(["leader", ["a", "b"]]);
    await stage.end(all);
  });

  test("by bad options", async () => {
    const stage = new Stage();
    for (const options of [{ to: "" }, { timeoutMs: 0 }, { by: " " }, { signal: 1 }, { metaPrefix: 1 }]) {
      await expect(handover(stage.outside, election, options as never)).rejects.toMatchObject({
        code: "BAD_OPTION",
      });
    }
    await expect(handover(stage.outside, "/merc/")).rejects.toMatchObject({ code: "BAD_OPTION" });
  });
});
