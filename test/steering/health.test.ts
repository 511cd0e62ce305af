import { describe, expect, test } from "vitest";
import type { HealthProbe } from "../../src/health/checkup.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import { readOverview } from "../../src/overview/read.ts";
import { collect, election, notebook } from "../member/world.ts";
import { Stage } from "./stage.ts";

/** A service whose health the test decides on. */
class Service {
  answer: () => unknown = () => true;
  asked = 0;
  readonly settings: Partial<MemberSettings>;

  constructor(more: object = {}) {
    const check: HealthProbe = () => {
      this.asked++;
      return this.answer();
    };
    this.settings = { health: { check, everyMs: 1_000, timeoutMs: 500, ...more } };
  }

  fail(): void {
    this.answer = () => {
      throw new Error("no database");
    };
  }
}

/** Three failures, or two successes, and what follows. */
const soonMs = 5_000;

describe("an unhealthy member", () => {
  test("that waits leaves the line, and comes back when it is well", async () => {
    const stage = new Stage();
    const service = new Service();
    const all = await stage.members({ a: {}, b: service.settings, c: {} });
    const seen = collect(all.b.member);
    service.fail();
    await stage.advance(soonMs);
    expect(stage.line).toEqual(["a", "c"]);
    await stage.advance(60_000);
    expect([stage.line, seen.at(-1)?.cause, all.b.member.phase]).toEqual([
      ["a", "c"],
      "unhealthy",
      "outside",
    ]);
    service.answer = () => undefined;
    await stage.advance(soonMs);
    expect(stage.line).toEqual(["a", "c", "b"]);
    await stage.end(all);
    expect(stage.pending).toBe(0);
  });

  test("that leads hands over, with that cause, and stands again when it is well", async () => {
    const stage = new Stage();
    const service = new Service();
    const all = await stage.members({ a: service.settings, b: {} });
    const seen = collect(all.a.member);
    const { token = 0n } = all.a.member.term ?? {};
    service.answer = () => false;
    await stage.advance(soonMs);
    expect([all.b.member.role, stage.line]).toEqual(["leader", ["b"]]);
    expect(all.b.member.term?.token).toBeGreaterThan(token);
    expect(seen.map(({ cause }) => cause)).toContain("unhealthy");
    service.answer = () => true;
    await stage.advance(soonMs);
    expect(stage.line).toEqual(["b", "a"]);
    await stage.end(all);
  });

  test("that leads alone leads on and says so, until somebody stands by", async () => {
    const stage = new Stage();
    const service = new Service();
    const { logger, said } = notebook();
    const all = await stage.members({ a: { ...service.settings, logger } });
    service.fail();
    await stage.advance(60_000);
    expect(all.a.member.role).toBe("leader");
    expect((await readOverview(stage.outside, election)).leader).toMatchObject({ id: "a", healthy: false });
    expect(said.filter(({ message }) => message.includes("leading on"))).toMatchObject([
      { level: "warn", fields: { reason: "no database" } },
    ]);
    const rest = await stage.members({ b: {} });
    await stage.advance(1_000);
    expect(rest.b.member.role).toBe("leader");
    expect((await readOverview(stage.outside, election)).leader).not.toHaveProperty("healthy");
    await stage.end({ ...all, ...rest });
  });

  test("that leads stays while paused", async () => {
    const stage = new Stage();
    const service = new Service();
    const all = await stage.members({ a: service.settings, b: {} });
    await stage.pause();
    service.fail();
    await stage.advance(60_000);
    expect(all.a.member.role).toBe("leader");
    await stage.resume();
    await stage.advance(soonMs);
    expect(all.b.member.role).toBe("leader");
    await stage.end(all);
  });

  test("is not passed over to: two unhealthy ones of two leave the leader be", async () => {
    const stage = new Stage();
    const [one, two] = [new Service(), new Service()];
    const all = await stage.members({ a: one.settings, b: two.settings });
    two.fail();
    await stage.advance(soonMs);
    one.fail();
    await stage.advance(60_000);
    expect([all.a.member.role, stage.line]).toEqual(["leader", ["a"]]);
    await stage.end(all);
  });
});

describe("a check", () => {
  test.each<[string, () => unknown]>([
    ["throws", () => Promise.reject(new Error("no"))],
    ["says false", () => Promise.resolve(false)],
    ["never ends", () => new Promise(() => {})],
  ])("that %s three times in a row makes unhealthy, and never runs twice at once", async (_title, answer) => {
    const stage = new Stage();
    const service = new Service();
    const all = await stage.members({ a: {}, b: service.settings });
    service.answer = answer;
    const { asked } = service;
    await stage.advance(2_100);
    expect(stage.line).toEqual(["a", "b"]);
    await stage.advance(2_500);
    expect(stage.line).toEqual(["a"]);
    if (String(answer).includes("=> {}")) expect(service.asked).toBe(asked + 1);
    await stage.end(all);
    expect(stage.pending).toBe(0);
  });

  test("that fails now and then changes nothing", async () => {
    const stage = new Stage();
    const service = new Service();
    const all = await stage.members({ a: {}, b: service.settings });
    service.answer = () => service.asked % 3 === 0;
    await stage.advance(120_000);
    expect(stage.line).toEqual(["a", "b"]);
    await stage.end(all);
  });

  test("can be the function alone, and its signal aborts when its time is over", async () => {
    const stage = new Stage();
    const aborted: unknown[] = [];
    const health: HealthProbe = ({ signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(aborted.push(signal.reason))));
    const all = await stage.members({ a: {}, b: { health } });
    await stage.advance(1_000);
    expect(aborted).toMatchObject([{ code: "TIMEOUT" }]);
    await stage.advance(10_000);
    expect(stage.line).toEqual(["a"]);
    await stage.end(all);
  });

  test.each<[object, RegExp]>([
    [{ check: 1 }, /^health.check must be a function/],
    [{ check: () => {}, everyMs: 0 }, /^health.everyMs/],
    [{ check: () => {}, timeoutMs: Number.NaN }, /^health.timeoutMs/],
    [{ check: () => {}, unhealthyAfter: 0 }, /^health.unhealthyAfter/],
    [{ check: () => {}, healthyAfter: 1.5 }, /^health.healthyAfter/],
    [{ check: () => {}, port: -1 }, /^health.port/],
    [{ check: () => {}, host: "0.0.0.0" }, /^health.port/],
    [{ check: () => {}, chekc: 1 }, /^health must be without unknown fields/],
    [{ everyMs: 5 }, /^health.check must be a function/],
    [{}, /^health.port/],
  ])("of %o is wrong", async (health, message) => {
    const stage = new Stage();
    await expect(stage.join("a", { health: health as never })).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringMatching(message),
    });
  });
});
