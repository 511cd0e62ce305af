import { describe, expect, test } from "vitest";
import type { Term } from "../../src/concurrency/term.ts";
import type { Member } from "../../src/member/member.ts";
import { Announcements } from "../../src/supervisor/announcements.ts";
import { Lead } from "../../src/supervisor/lead.ts";
import { stepDown } from "../../src/supervisor/step-down.ts";
import { collect, election, gate } from "../member/world.ts";
import { Stage } from "../steering/stage.ts";

/** A member whose lead is a supervised program's, but for the program: what that takes to stop is `stopped`. */
async function leader(stage: Stage, stopped: Promise<void> = Promise.resolve()) {
  const announcements = await Announcements.open(stage.clock, {
    ...{ election, id: "a", roleFile: undefined, env: {}, on: () => {} },
    hooks: { onLead: undefined, onLeadMs: 0, onStandby: undefined, onStandbyMs: 0 },
  });
  let lead: Lead | undefined;
  const { member, network } = await stage.join("a", {
    lead: async (term: Term) => {
      lead = Lead.begin(term, announcements, (cause) => member.fail(cause));
      await lead.over;
      lead.end();
      await stopped;
      await lead.settle();
    },
  });
  announcements.role.follow(member);
  await stage.settle();
  return { member, network, role: announcements.role, lead: lead as unknown as Lead };
}

const causes = (member: Member) => {
  const changes = collect(member);
  return () => changes.map(({ cause }) => cause).filter((cause) => cause !== undefined);
};

describe("a leader that is asked to step down", () => {
  test("answers while its program still stops, and says the same cause everywhere", async () => {
    const stage = new Stage();
    const stop = gate();
    const a = await leader(stage, stop.opened);
    const b = await stage.join("b");
    const told = causes(a.member);
    expect(await stage.until(stepDown(a.member, a.lead))).toEqual({ at: "given-up" });
    expect([a.member.role, b.member.role, stage.line]).toEqual(["standby", "standby", ["a", "b"]]);
    expect(a.role.now).toMatchObject({ role: "standby", leader: null, cause: "handover" });
    stop.open();
    await stage.advance(1_000);
    expect([b.member.role, stage.line]).toEqual(["leader", ["b", "a"]]);
    expect([a.lead.cause, ...new Set(told())]).toEqual(["handover", "handover"]);
    await stage.end({ a, b });
  });

  test("leads on where nobody stands by, and says so", async () => {
    const stage = new Stage();
    const a = await leader(stage);
    const { token } = a.lead.term;
    const refused = { at: "refused", reason: 'nobody stands by; "a" leads on' };
    expect(await stage.until(stepDown(a.member, a.lead))).toEqual(refused);
    await stage.advance(15_000);
    expect(a.role.now).toMatchObject({ role: "leader", token: Number(token), cause: null });
    await stage.end({ a });
  });

  test("leads on while changes are paused, and says why they are", async () => {
    const stage = new Stage();
    const a = await leader(stage);
    const b = await stage.join("b");
    await stage.until(stage.pause("kernel upgrade"));
    expect(await stage.until(stepDown(a.member, a.lead))).toMatchObject({
      at: "refused",
      reason: expect.stringMatching(/are paused: .*kernel upgrade/),
    });
    expect([a.role.now.role, b.member.role]).toEqual(["leader", "standby"]);
    await stage.end({ a, b });
  });

  test("leads on where etcd does not answer, and says so in time", async () => {
    const stage = new Stage();
    const a = await leader(stage);
    const b = await stage.join("b");
    for (const link of a.network.links) link.silent = true;
    const asked = stepDown(a.member, a.lead);
    const answer = stage.until(asked, 8_000);
    expect(await answer).toMatchObject({ at: "failed", reason: expect.stringMatching(/within 5000 ms/) });
    expect([a.role.now.role, b.member.role]).toEqual(["leader", "standby"]);
    a.network.heal();
    await stage.advance(1_000);
    expect(a.role.now.role).toBe("leader");
    await stage.end({ a, b });
  });
});

describe("a lead that its program ends", () => {
  test.each<[string, Parameters<Lead["end"]>, string]>([
    ["by being done", [{ code: 0, signal: undefined }], "finished"],
    ["by a crash", [{ code: 137, signal: "SIGKILL" }], "failed"],
    ["by its ill health", [undefined, { at: "ill", cause: "unhealthy", why: "answered 500" }], "unhealthy"],
    ["by a hang", [undefined, { at: "ill", cause: "hung", why: "no heartbeat" }], "hung"],
  ])("%s: role and member say the same, and stand by before it is all gone", async (_title, end, cause) => {
    const stage = new Stage();
    const stop = gate();
    const a = await leader(stage, stop.opened);
    const b = await stage.join("b");
    const told = causes(a.member);
    a.lead.end(...end);
    await stage.settle();
    expect([a.member.role, a.role.now.role, a.role.now.cause]).toEqual(["standby", "standby", cause]);
    expect([a.lead.cause, ...new Set(told())]).toEqual([cause, cause]);
    expect([b.member.role, stage.line]).toEqual(["standby", ["a", "b"]]);
    stop.open();
    await stage.settle();
    // Whoever failed lets others have their turn.
    expect([b.member.role, stage.line]).toEqual(["leader", ["b"]]);
    await stage.advance(2_000);
    expect(stage.line).toEqual(["b", "a"]);
    await stage.end({ a, b });
  });
});
