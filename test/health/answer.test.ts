import { describe, expect, test } from "vitest";
import { checkAnswer, liveAnswer, statusAnswer } from "../../src/health/answer.ts";
import { checkHealth, type HealthOptions } from "../../src/health/options.ts";
import { aged, type HealthReport, type HealthStatus } from "../../src/health/report.ts";

const { codes } = checkHealth({ port: 0 });

function report(of: Partial<Omit<HealthReport, "status">> & Partial<HealthStatus>): HealthReport {
  const { role = "standby", well = true, reason, provenForMs = 1_000, ...status } = of;
  return {
    ...{ role, well, reason, provenForMs },
    status: {
      ...{ election: "/merc", id: "a", role, phase: "waiting", leaving: false, position: 1, token: null },
      leader: { id: "b", token: 7, leaseId: "f" },
      ...{ termRemainingMs: 0, leaseId: "e", leaseRemainingMs: 1_000, ttlMs: 2_000, line: [], cause: null },
      ...{ causes: [], versions: { succession: "0", node: "v20" } },
      ...status,
    },
  };
}

const leading = report({ role: "leader", phase: "leading", token: 7, termRemainingMs: 1_000 });
const waiting = report({});
const ill = report({ well: false, reason: "not in the line of succession", phase: "outside" });

describe("the answer of", () => {
  test.each([
    ["leader", leading, 200, undefined],
    ["primary", leading, 200, undefined],
    ["standby", leading, 503, "this member leads"],
    ["health", leading, 200, undefined],
    ["leader", waiting, 503, "b leads"],
    ["leader", report({ leader: null }), 503, "nobody is known to lead"],
    ["primary", waiting, 503, "b leads"],
    ["standby", waiting, 200, undefined],
    ["health", waiting, 200, undefined],
    ["leader", ill, 503, "not in the line of succession"],
    ["standby", ill, 503, "not in the line of succession"],
    ["health", ill, 503, "not in the line of succession"],
    ["leader", { reason: "the event loop is blocked" }, 503, "the event loop is blocked"],
    ["health", { reason: "the event loop is blocked" }, 503, "the event loop is blocked"],
  ] as const)("/%s (case %#) is right", (check, told, status, reason) => {
    const answer = checkAnswer(check, told, codes);
    expect(answer).toMatchObject({ status, body: { ok: status === 200 } });
    expect((answer.body as { reason?: string }).reason).toBe(reason);
  });

  test("/live turns when the loops are late by more than the limit", () => {
    expect(liveAnswer({ lateMs: -3, limitMs: 2_000 }, codes)).toEqual({
      status: 200,
      body: { ok: true, lateMs: 0 },
    });
    expect(liveAnswer({ lateMs: 2_000, limitMs: 2_000 }, codes).status).toBe(200);
    expect(liveAnswer({ lateMs: 2_001, limitMs: 2_000 }, codes).status).toBe(503);
  });

  test("/status is 200 in either role, and 503 where nobody can tell", () => {
    expect(statusAnswer(leading)).toMatchObject({
      status: 200,
      body: { role: "leader", token: 7, well: true },
    });
    expect(statusAnswer(ill)).toMatchObject({ status: 200, body: { well: false } });
    expect(statusAnswer({ reason: "the event loop is blocked" }).status).toBe(503);
  });

  test("a leader whose proof ran out while the report was on its way is no leader", () => {
    expect(checkAnswer("leader", aged(leading, 999), codes).status).toBe(200);
    const late = aged(leading, 1_000);
    expect(checkAnswer("leader", late, codes).status).toBe(503);
    expect(checkAnswer("health", late, codes).status).toBe(503);
    expect(statusAnswer(late).body).toMatchObject({ role: "standby", token: null, termRemainingMs: 0 });
  });
});

describe("the codes", () => {
  test("can be set, and those of /primary follow those of /leader", () => {
    const own = checkHealth({ port: 0, codes: { leader: { no: 404 }, live: { yes: 204 } } }).codes;
    expect(own.primary).toEqual({ yes: 200, no: 404 });
    expect(checkAnswer("primary", waiting, own).status).toBe(404);
    expect(liveAnswer({ lateMs: 0, limitMs: 1 }, own).status).toBe(204);
  });

  test.each<[unknown, string]>([
    [{}, "health.port must be a port"],
    [{ port: 70_000 }, "health.port must be a port"],
    [{ port: "80" }, "health.port must be a port"],
    [{ port: 0, host: "" }, "health.host must be"],
    [{ port: 0, hots: "::" }, 'health must be without unknown fields, got "hots"'],
    [{ port: 0, codes: { lead: {} } }, "health.codes must be of leader"],
    [{ port: 0, codes: { leader: { yes: 99 } } }, "health.codes.leader.yes must be an HTTP status"],
    [{ port: 0, codes: { leader: { ja: 204 } } }, 'health.codes.leader must be of yes and no, got "ja"'],
    [{ port: 0, codes: { leader: { yes: 503 } } }, "health.codes.leader must be different"],
    [7, "health must be an object"],
  ])("%j is refused", (options, message) => {
    expect(() => checkHealth(options as HealthOptions)).toThrow(message);
  });
});
