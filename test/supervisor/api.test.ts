import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type IncomingHttpHeaders, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/clock.ts";
import { Term } from "../../src/concurrency/term.ts";
import { Tally } from "../../src/member/tally.ts";
import { ApiServer } from "../../src/supervisor/api-server.ts";
import { ProgramRole } from "../../src/supervisor/role.ts";
import type { StepDown } from "../../src/supervisor/step-down.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";

const secret = "a-secret-of-thirty-characters!";
const open: { close(): Promise<void> }[] = [];
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "succession-api-"));
});
afterAll(async () => {
  await Promise.all(open.map((each) => each.close()));
  rmSync(folder, { recursive: true, force: true });
});

/** A supervisor without etcd: its lead is what the test says. */
class Stand {
  readonly role = new ProgramRole({ election: "/merc", id: "a" });
  api!: ApiServer;
  /** Why nobody can step down, or what is in the way. */
  trouble: Exclude<StepDown, { at: "given-up" }> | undefined;

  static async open(at: { path: string } | { host: string; port: number }, token?: string): Promise<Stand> {
    const stand = new Stand();
    stand.api = await ApiServer.open(
      { at, token },
      {
        ...{ clock: systemClock, ttlMs: 10_000, role: stand.role },
        report: () => ({ reason: "not in the line of succession" }),
        metrics: () => new Tally().metrics({ election: "/merc", id: "a" }),
        stepDown: async () => {
          if (stand.trouble !== undefined) return stand.trouble;
          stand.role.end("handover");
          return { at: "given-up" };
        },
      },
    );
    open.push(stand.api);
    return stand;
  }

  lead(ms: number, token = 7n): void {
    const until = systemClock.now() + ms;
    const about = { clock: systemClock, key: "/merc/1", token, deadline: () => until };
    this.role.begin(new Term({ ...about, onExpired: () => {} }));
  }

  async ask(path: string, options: { method?: string; headers?: IncomingHttpHeaders } = {}): Promise<Heard> {
    return await ask(this.api.address, path, options);
  }
}

interface Heard {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly body: { readonly role?: string; readonly reason?: string; readonly remainingMs?: number };
}

async function ask(
  address: string,
  path: string,
  { method = "GET", headers = {} }: { method?: string; headers?: IncomingHttpHeaders } = {},
): Promise<Heard> {
  const where = address.startsWith("http")
    ? { host: "127.0.0.1", port: new URL(address).port }
    : { socketPath: address };
  const asked = request({ ...where, method, path, headers, agent: false });
  asked.end();
  const [answer] = await once(asked, "response");
  let text = "";
  for await (const piece of answer) text += piece;
  const body = text.startsWith("{") ? JSON.parse(text) : {};
  return { status: answer.statusCode, headers: answer.headers, text, body };
}

const onSocket = (name: string): Promise<Stand> => Stand.open({ path: join(folder, name) });

describe("the API says", () => {
  test("the role of this moment: a lead past its deadline is none, before anything has told so", async () => {
    const stand = await onSocket("role");
    const none = { role: "standby", election: "/merc", id: "a", token: null, leader: null, cause: null };
    expect((await stand.ask("/role")).body).toMatchObject(none);
    stand.lead(60_000);
    const { body } = await stand.ask("/role?now");
    expect(body).toMatchObject({ role: "leader", token: 7, leader: "a", cause: null });
    expect(body.remainingMs).toBeGreaterThan(30_000);
    stand.lead(0);
    expect((await stand.ask("/role")).body).toMatchObject({ ...none, cause: "deadline", remainingMs: 0 });
  });

  test("at once that the role came, and after the time given that it did not", async () => {
    const stand = await onSocket("wait");
    const waiting = stand.ask("/wait?role=leader&timeout=60");
    expect(await stand.ask("/wait?role=leader&timeout=0.05")).toMatchObject({
      status: 503,
      body: { role: "standby" },
    });
    stand.lead(60_000);
    expect(await waiting).toMatchObject({ status: 200, body: { role: "leader" } });
    expect((await stand.ask("/wait?role=leader")).status).toBe(200);
    for (const query of ["", "?role=king", "?role=leader&timeout=601", "?role=leader&timeout=x"])
      expect(await stand.ask(`/wait${query}`)).toMatchObject({ status: 400 });
  });

  test("every change as an event, the present state first", async () => {
    const stand = await onSocket("events");
    const asked = request({ socketPath: stand.api.address, path: "/events", agent: false });
    asked.end();
    const [answer] = await once(asked, "response");
    expect(answer.headers["content-type"]).toBe("text/event-stream");
    let text = "";
    answer.on("data", (piece: Buffer) => {
      text += piece;
    });
    const ended = once(answer, "end");
    await eventually(() => expect(text).toContain("data:"));
    stand.lead(60_000);
    stand.role.end("handover");
    await stand.api.close();
    await ended;
    const told = [...text.matchAll(/^data: (.*)$/gm)].map(([, line = ""]) => JSON.parse(line));
    expect(told.map(({ role, cause }) => [role, cause])).toEqual([
      ["standby", null],
      ["leader", null],
      ["standby", "handover"],
    ]);
  });

  test("202 to a leader that is asked to step down, and else why that cannot be", async () => {
    const stand = await onSocket("step-down");
    stand.lead(60_000);
    stand.trouble = { at: "refused", reason: "nobody stands by" };
    expect(await stand.ask("/step-down", { method: "POST" })).toMatchObject({
      status: 409,
      body: { role: "leader", reason: "nobody stands by" },
    });
    stand.trouble = { at: "failed", reason: "no answer" };
    expect(await stand.ask("/step-down", { method: "POST" })).toMatchObject({
      status: 503,
      body: { role: "leader", reason: "no answer" },
    });
    stand.trouble = undefined;
    expect(await stand.ask("/step-down", { method: "POST" })).toMatchObject({
      status: 202,
      body: { role: "standby", cause: "handover" },
    });
  });

  test("metrics as Prometheus reads them, not as JSON", async () => {
    const { headers, text } = await (await onSocket("metrics")).ask("/metrics");
    expect(headers["content-type"]).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toMatch(/^succession_role_changes_total\{election="\/merc",id="a",cause="elected"\} 0$/m);
    expect(text.endsWith("} 0\n")).toBe(true);
  });

  test("what HTTP has for other questions", async () => {
    const stand = await onSocket("http");
    const answers = await Promise.all(
      [
        ["GET", "/"],
        ["GET", "/constructor"],
        ["POST", "/role"],
        ["GET", "/step-down"],
        ["HEAD", "/step-down"],
        ["HEAD", "/role"],
        ["HEAD", "/events"],
        ["OPTIONS", "/step-down"],
        ["GET", "/leader"],
        ["OPTIONS", "/health"],
        ["GET", "/live"],
        ["GET", "/status"],
        ["GET", "/metrics"],
        ["HEAD", "/metrics"],
        ["POST", "/metrics"],
        ["BREW", "/role"],
      ].map(async ([method = "", path = ""]) => {
        // Node.js' client sends no method that it does not know.
        if (method === "BREW") return [method, path, await rawStatus(stand.api.address, "BREW /role")];
        const { status, headers, text } = await stand.ask(path, { method });
        const { allow } = headers;
        if (method === "HEAD") expect(text).toBe("");
        return [method, path, status, ...(allow === undefined ? [] : [allow])];
      }),
    );
    const reading = "GET, HEAD, OPTIONS";
    expect(answers).toEqual([
      ["GET", "/", 404],
      ["GET", "/constructor", 404],
      ["POST", "/role", 405, reading],
      ["GET", "/step-down", 405, "POST, OPTIONS"],
      ["HEAD", "/step-down", 405, "POST, OPTIONS"],
      ["HEAD", "/role", 200],
      ["HEAD", "/events", 200],
      ["OPTIONS", "/step-down", 204, "POST, OPTIONS"],
      ["GET", "/leader", 503],
      ["OPTIONS", "/health", 503, reading],
      ["GET", "/live", 200],
      ["GET", "/status", 503],
      ["GET", "/metrics", 200],
      ["HEAD", "/metrics", 200],
      ["POST", "/metrics", 405, reading],
      ["BREW", "/role", 400],
    ]);
  });
});

describe("nobody can make it hold more than it should", () => {
  test("the sixty-fifth who waits is sent away, and one who went away makes room", async () => {
    const stand = await onSocket("full");
    const waiting = Array.from({ length: 64 }, () => {
      const asked = request({
        socketPath: stand.api.address,
        path: "/wait?role=leader&timeout=60",
        agent: false,
      });
      asked.on("error", () => {});
      asked.end();
      return asked;
    });
    await eventually(async () => {
      expect(await stand.ask("/wait?role=leader&timeout=0")).toMatchObject({
        status: 429,
        headers: { "retry-after": "1" },
      });
    });
    waiting[0]?.destroy();
    await eventually(async () => expect((await stand.ask("/wait?role=leader&timeout=0")).status).toBe(503));
    for (const each of waiting) each.destroy();
  });

  test("a reader of events who does not read is cut off", async () => {
    const stand = await onSocket("slow");
    const reader = connect(stand.api.address);
    reader.write("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(reader, "readable");
    const closed = once(reader, "close");
    // More than the system and Node.js buffer.
    for (let token = 1n; token < 5_000n; token++) stand.lead(60_000, token);
    let read = 0;
    reader.on("data", (piece: Buffer) => {
      read += piece.length;
    });
    reader.on("error", () => {});
    await closed;
    expect(read).toBeLessThan(600_000);
    expect((await stand.ask("/role")).body.role).toBe("leader");
  });
});

describe("over TCP", () => {
  test.each([
    ["127.0.0.1", 200],
    ["localhost:8080", 200],
    ["[::1]:80", 200],
    ["evil.example", 403],
    ["evil.example:80", 403],
    ["127.0.0.1.evil.example", 403],
    ["localhost@evil.example", 403],
    ["evil.example:localhost", 403],
  ])("who asks for %j gets %i", async (host, status) => {
    const stand = await Stand.open({ host: "127.0.0.1", port: 0 });
    expect((await stand.ask("/role", { headers: { host } })).status).toBe(status);
  });

  test("a POST needs the token, in a header", async () => {
    const stand = await Stand.open({ host: "127.0.0.1", port: 0 }, secret);
    stand.lead(60_000);
    const post = (authorization?: string): Promise<Heard> =>
      stand.ask(`/step-down?token=${secret}`, {
        method: "POST",
        headers: authorization === undefined ? {} : { authorization },
      });
    expect(await post()).toMatchObject({ status: 401, headers: { "www-authenticate": "Bearer" } });
    for (const wrong of ["Bearer x", `Basic ${secret}`, `Bearer ${secret}x`, secret])
      expect((await post(wrong)).status).toBe(401);
    expect(stand.role.now.role).toBe("leader");
    expect((await post(`Bearer ${secret}`)).status).toBe(202);
  });

  test("and without a token there is no POST", async () => {
    const stand = await Stand.open({ host: "127.0.0.1", port: 0 });
    stand.lead(60_000);
    const answer = await stand.ask("/step-down", { method: "POST", headers: { authorization: "Bearer " } });
    expect(answer).toMatchObject({
      status: 403,
      body: { reason: expect.stringContaining("--api-token-file") },
    });
    expect(stand.role.now.role).toBe("leader");
  });

  test("a port that is taken is said", async () => {
    const stand = await Stand.open({ host: "127.0.0.1", port: 0 });
    const { port } = new URL(stand.api.address);
    await expect(Stand.open({ host: "127.0.0.1", port: Number(port) })).rejects.toThrow(/port is in use/);
  });
});

describe("the socket", () => {
  test("is for this user alone, and goes with the supervisor", async () => {
    const stand = await onSocket("mode");
    expect(statSync(stand.api.address).mode & 0o777).toBe(0o600);
    await stand.api.close();
    expect(existsSync(stand.api.address)).toBe(false);
  });

  test("of a dead supervisor is replaced, and that of a living one is not", async () => {
    const path = join(folder, "taken");
    const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("on"))`;
    const child = Child.start({ args: ["-e", script] });
    await child.waitFor("on", 20_000);
    await expect(Stand.open({ path })).rejects.toThrow(/another process serves/);
    await child.kill();
    expect(existsSync(path)).toBe(true);
    const stand = await Stand.open({ path });
    expect((await stand.ask("/role")).status).toBe(200);
    await expect(Stand.open({ path })).rejects.toThrow(/another process serves/);
    expect((await stand.ask("/role")).status).toBe(200);
  });

  test("is not made of a file, too long, or in no folder", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "precious");
    await expect(Stand.open({ path: file })).rejects.toThrow(/is no socket/);
    expect(existsSync(file)).toBe(true);
    await expect(Stand.open({ path: join(folder, "x".repeat(107)) })).rejects.toThrow(/107 bytes at most/);
    await expect(Stand.open({ path: join(folder, "no", "socket") })).rejects.toThrow(/no such folder/);
  });
});

async function rawStatus(path: string, line: string): Promise<number> {
  const socket = connect(path);
  socket.write(`${line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  let text = "";
  for await (const piece of socket) text += piece;
  return Number(text.split(" ")[1]);
}
