import { describe, expect, test } from "vitest";
import { pause } from "../../src/steering/pause.ts";
import { eventually } from "../support/eventually.ts";
import { election, Stage, token } from "./stage.ts";

const post = { method: "POST", headers: { "content-type": "application/json" }, body: "{}" };

describe("who looks", () => {
  test("is told everything at once, and then what changes", async () => {
    await using stage = await Stage.open();
    const a = await stage.join("a", { address: "10.0.0.1:8080", zone: "dc1" });
    await stage.join("b", { priority: 7 });
    await stage.join("w", { candidate: false });
    const viewer = await stage.look();
    await stage.until(
      () => viewer.last("overview")?.line.length === 2 && viewer.last("leases") !== undefined,
    );
    expect(viewer.told[0]).toMatchObject({ kind: "hello", message: { steering: true } });
    await stage.until(() => viewer.last("elections")?.elections[0]?.candidates === 2);
    expect(viewer.last("elections")).toEqual({
      elections: [{ election, read: true, leader: "a", candidates: 2, paused: false }],
      more: 0,
    });
    const overview = viewer.last("overview");
    expect(overview).toMatchObject({
      ...{ election, pause: null, handover: null, complete: true },
      leader: {
        id: "a",
        address: "10.0.0.1:8080",
        zone: "dc1",
        isMember: true,
        token: Number(a.term?.token),
      },
      line: [{ id: "a" }, { id: "b", priority: 7 }],
      witnesses: [{ id: "w" }],
    });
    const [, , ...none] = Object.entries(viewer.last("leases")?.leases ?? {});
    expect(none).toEqual([]);
    expect(viewer.last("leases")?.leases[overview?.leader?.key ?? ""]).toEqual([expect.any(Number), 10_000]);
    expect(viewer.last("beat")).toEqual({ time: expect.any(String) });
    await pause(stage.etcd.client(), election, { reason: "upgrade", forMs: 60_000, by: "ann" });
    await stage.until(() => viewer.last("leases")?.pauseMs !== undefined);
    expect(viewer.last("overview")?.pause).toMatchObject({ reason: "upgrade", by: "ann", ends: true });
    expect(viewer.last("elections")?.elections).toMatchObject([{ paused: true }]);
    await stage.leave(a);
    await stage.until(() => viewer.last("overview")?.leader?.id === "b");
    await stage.until(() => viewer.last("elections")?.elections[0]?.leader === "b");
  });

  test("is told of elections that begin, and still of those that everybody has left", async () => {
    await using stage = await Stage.open();
    const viewer = await stage.look(undefined);
    await stage.until(() => viewer.last("elections") !== undefined);
    expect(viewer.last("elections")).toEqual({ elections: [], more: 0 });
    const a = await stage.join("a");
    await stage.until(() => viewer.last("elections")?.elections[0]?.leader === "a");
    await stage.leave(a);
    await stage.until(() => viewer.last("elections")?.elections[0]?.leader === null);
    await stage.etcd.clock.advance(60_000);
    expect(viewer.last("elections")?.elections).toMatchObject([{ election, candidates: 0 }]);
  });

  test("is told that the data are old while etcd does not answer, and when it does again", async () => {
    await using stage = await Stage.open({ elections: [election] });
    await stage.join("a");
    const viewer = await stage.look();
    await stage.until(() => viewer.last("overview")?.leader?.id === "a");
    stage.link.silent();
    await stage.until(() => (viewer.last("beat")?.awayMs ?? 0) > 10_000);
    await stage.join("b");
    await stage.link.heal();
    await stage.until(() => viewer.last("beat")?.awayMs === undefined);
    await stage.until(() => viewer.last("overview")?.line.length === 2);
  });

  test("is one of so many, and holds up no end", async () => {
    await using stage = await Stage.open();
    const viewers = await Promise.all(Array.from({ length: 128 }, () => stage.look()));
    expect(viewers.map(({ status }) => status)).toEqual(viewers.map(() => 200));
    expect(await stage.ask("/events")).toMatchObject({ status: 503, text: expect.stringContaining("FULL") });
    viewers[0]?.close();
    await eventually(async () => expect((await stage.look()).status).toBe(200));
    const closed = stage.dashboard.close();
    await stage.until(() => true);
    await Promise.all([closed, ...viewers.map(({ ended }) => ended)]);
  });
});

describe("a request is refused", () => {
  test("by a foreign host, whatever it asks for", async () => {
    await using stage = await Stage.open();
    for (const path of ["/", "/main.js", "/events", "/api/elections", "/api/token"]) {
      const method = path === "/api/token" ? "POST" : "GET";
      const headers = { host: "evil.example", authorization: `Bearer ${token}` };
      const answer = await stage.ask(path, { method, headers });
      expect([answer.status, answer.json()]).toMatchObject([403, { error: { code: "FOREIGN_HOST" } }]);
    }
  });

  test("where it is no good, with the reason, and the headers that guard browsers", async () => {
    await using stage = await Stage.open();
    const bearer = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const cases: readonly (readonly [string, Parameters<Stage["ask"]>[1], number, string])[] = [
      ["/nothing", {}, 404, "NOT_FOUND"],
      ["/../options.js", {}, 404, "NOT_FOUND"],
      ["/%2e%2e/options.js", {}, 404, "NOT_FOUND"],
      ["//evil.example/", {}, 404, "NOT_FOUND"],
      ["/api/constructor", post, 404, "NOT_FOUND"],
      ["/", { method: "POST" }, 405, "WRONG_METHOD"],
      ["/api/handover", {}, 405, "WRONG_METHOD"],
      ["/api/overview", {}, 404, "NOT_SHOWN"],
      ["/api/overview?election=%2Fsecret", {}, 404, "NOT_SHOWN"],
      ["/events", { headers: { origin: "http://evil.example" } }, 403, "FOREIGN_ORIGIN"],
      ["/api/token", post, 401, "WRONG_TOKEN"],
      ["/api/token", { ...post, headers: { authorization: "Bearer x" } }, 401, "WRONG_TOKEN"],
      ["/api/pause", { ...post, headers: { ...bearer, origin: "null" } }, 403, "FOREIGN_ORIGIN"],
      ["/api/pause", { ...post, headers: { ...bearer, "content-type": "text/plain" } }, 415, "NOT_JSON"],
      ["/api/pause", { ...post, headers: bearer, body: "[]" }, 400, "NOT_JSON"],
      ["/api/pause", { ...post, headers: bearer, body: `"${"x".repeat(20_000)}"` }, 413, "TOO_LARGE"],
      ["/api/pause", { ...post, headers: bearer, body: '{"election":"/secret"}' }, 404, "NOT_SHOWN"],
    ];
    for (const [path, options, status, code] of cases) {
      const answer = await stage.ask(path, options);
      expect([path, answer.status, answer.json()]).toMatchObject([path, status, { error: { code } }]);
      expect(answer.headers["content-security-policy"]).toContain("default-src 'none'");
      expect(answer.headers["x-content-type-options"]).toBe("nosniff");
    }
    expect(JSON.stringify(stage.said, bigintsAsText)).not.toContain(token);
  });

  test("for want of a token that the dashboard has not got, whatever it brings", async () => {
    await using stage = await Stage.open({ token: null });
    const viewer = await stage.look();
    for (const name of ["token", "handover", "pause", "resume"]) {
      const answer = await stage.command(name, { election });
      expect([answer.status, answer.json()]).toMatchObject([403, { error: { code: "READ_ONLY" } }]);
    }
    expect(viewer.last("hello")).toMatchObject({ steering: false });
  });
});

describe("a command", () => {
  test("hands over, pauses and resumes, and says why it cannot", async () => {
    await using stage = await Stage.open();
    const a = await stage.join("a");
    const b = await stage.join("b");
    const viewer = await stage.look();
    await stage.until(() => viewer.last("overview")?.line.length === 2);
    expect((await stage.command("token", {})).status).toBe(200);
    const first = Number(a.term?.token);
    const stale = await stage.command("handover", { election, token: first - 1 });
    expect([stale.status, stale.json()]).toMatchObject([
      409,
      { error: { code: "REFUSED", refusal: "another-leader" } },
    ]);
    const done = await stage.command("handover", { election, token: first, by: "ann" });
    expect([done.status, done.json()]).toMatchObject([200, { from: "a", leader: "b", accepted: true }]);
    expect([a.role, b.role]).toEqual(["standby", "leader"]);
    expect(Number.isInteger((done.json() as { durationMs: number }).durationMs)).toBe(true);
    const wrong = await stage.command("handover", { election, token: "x" });
    expect([wrong.status, wrong.text]).toEqual([
      400,
      expect.stringContaining("token must be a whole number"),
    ]);
    const unknown = await stage.command("handover", { election, to: "nobody" });
    expect([unknown.status, unknown.text]).toEqual([409, expect.stringContaining("nobody")]);
    const reasonless = await stage.command("pause", { election });
    expect([reasonless.status, reasonless.text]).toEqual([400, expect.stringContaining("reason must be")]);
    const paused = await stage.command("pause", { election, reason: "upgrade", forMs: 60_000 });
    expect([paused.status, paused.json()]).toMatchObject([200, { by: "dashboard", remainingMs: 60_000 }]);
    const held = await stage.command("handover", { election });
    expect([held.status, held.text]).toEqual([409, expect.stringContaining("upgrade")]);
    const resumed = await stage.command("resume", { election });
    expect([resumed.status, resumed.json()]).toMatchObject([200, { ended: { reason: "upgrade" } }]);
    const again = await stage.command("resume", { election });
    expect([again.status, again.json()]).toEqual([200, { ended: null }]);
  });
});

function bigintsAsText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value instanceof Error ? String(value) : value;
}
