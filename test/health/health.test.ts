import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import { exposition } from "../../src/metric.ts";
import { gate } from "../member/world.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { rawHttp } from "../support/raw-http.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

let server: DevServer;
let elections = 0;
beforeAll(async () => {
  server = await DevServer.start();
});
afterAll(() => server.close());

const join = (id: string, election: string, settings: Partial<MemberSettings> = {}): Promise<Member> =>
  Member.join({ endpoints: [server.endpoint], election, id, health: { port: 0 }, ...settings });

const election = (): string => `/health/${++elections}`;

interface Told {
  readonly token?: number | null;
  readonly reason?: string;
}

async function ask(port: number | undefined, path: string): Promise<{ code: number; body: Told }> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: "close" } });
  return { code: answer.status, body: (await answer.json()) as Told };
}

/** What /metrics says of who leads: "1", "0", or the status where it says nothing. */
async function leaderMetric(port: number | undefined): Promise<string> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { connection: "close" } });
  const text = await answer.text();
  return /^succession_is_leader\{.*\} (\d)$/m.exec(text)?.[1] ?? `${answer.status}`;
}

/** The codes of /leader, /standby, /health and /live. */
async function codesOf({ healthPort }: Member): Promise<number[]> {
  const answers = ["/leader", "/standby", "/health", "/live"].map((path) => ask(healthPort, path));
  return (await Promise.all(answers)).map(({ code }) => code);
}

describe("the health endpoints", () => {
  test("say who leads and who stands by, and move with the lead", async () => {
    const name = election();
    const a = await join("a", name);
    const b = await join("b", name);
    await eventually(async () => expect(await codesOf(a)).toEqual([200, 503, 200, 200]));
    expect(await codesOf(b)).toEqual([503, 200, 200, 200]);
    expect((await ask(b.healthPort, "/leader")).body).toMatchObject({ ok: false, reason: "a leads" });
    expect((await ask(a.healthPort, "/primary")).code).toBe(200);
    const port = a.healthPort;
    await a.leave();
    await eventually(async () => expect(await codesOf(b)).toEqual([200, 503, 200, 200]));
    // They go away with the member.
    await expect(ask(port, "/live")).rejects.toThrow();
    await b.leave();
  });

  test("/status tells everything in JSON, ids of leases in hex", async () => {
    const name = election();
    const a = await join("a", name);
    const b = await join("b", name);
    await eventually(() => expect([a.role, b.line.length]).toEqual(["leader", 2]));
    const leaseId = (a.leader?.leaseId ?? 0n).toString(16);
    const token = Number(a.term?.token);
    expect((await ask(a.healthPort, "/status")).body).toMatchObject({
      ...{ election: name, id: "a", role: "leader", phase: "leading", token, leaving: false, ttlMs: 10_000 },
      ...{ leader: { id: "a", token, leaseId }, leaseId, well: true, position: null, cause: null },
      causes: [],
      line: [{ id: "a", token }, { id: "b" }],
      versions: { succession: expect.stringMatching(/^\d/), node: process.version },
      termRemainingMs: expect.toSatisfy((ms: number) => ms > 0 && ms <= 9_000),
      leaseRemainingMs: expect.toSatisfy((ms: number) => ms > 0 && ms <= 10_000),
    });
    expect((await ask(b.healthPort, "/status")).body).toMatchObject({
      role: "standby",
      token: null,
      position: 1,
    });
    await a.leave();
    await b.leave();
  });

  test("/metrics tells what was measured, in Prometheus's text format", async () => {
    const a = await join("a", election());
    await eventually(async () => expect(await leaderMetric(a.healthPort)).toBe("1"));
    const { status, headers, body } = await rawHttp(a.healthPort as number, ["GET /metrics HTTP/1.0"]);
    expect([status, headers.get("content-type")]).toEqual([200, "text/plain; version=0.0.4; charset=utf-8"]);
    // All that the member itself tells, asked at another moment.
    const names = (text: string): string[] => text.match(/^# (HELP|TYPE) .*$/gm) ?? [];
    expect(names(body)).toEqual(names(exposition(a.metrics())));
    expect(body).toContain(`succession_term_token{election="${a.election}",id="a"} ${a.term?.token}\n`);
    await a.leave();
  });

  test("while a member steps down say that it stands by, until its key is gone", async () => {
    const name = election();
    const stop = gate();
    const a = await join("a", name, { lead: () => stop.opened, ttlSeconds: 4, stopTimeoutMs: 2_000 });
    await eventually(() => expect(a.role).toBe("leader"));
    const leaving = a.leave();
    expect(await codesOf(a)).toEqual([503, 503, 503, 200]);
    expect((await ask(a.healthPort, "/status")).body).toMatchObject({
      ...{ role: "standby", phase: "demoting", leaving: true, reason: "leaving the election" },
      causes: [{ cause: "resigned" }],
    });
    stop.open();
    await leaving;
  });

  test("say 503 to /health and 200 to /live in an outage of etcd", async () => {
    const proxy = await TcpProxy.start({ target: server.endpoint });
    const a = await Member.join({
      ...{ endpoints: [proxy.endpoint], election: election(), id: "a", ttlSeconds: 2, health: { port: 0 } },
    });
    await eventually(async () => expect((await ask(a.healthPort, "/leader")).code).toBe(200));
    await proxy.blackHole();
    await eventually(async () => expect(await codesOf(a)).toEqual([503, 503, 503, 200]));
    expect((await ask(a.healthPort, "/health")).body.reason).toMatch(/deadline/);
    await a.leave();
    await proxy.close();
  });

  test("are asked as load balancers ask", async () => {
    const a = await join("a", election(), {
      health: { port: 0, codes: { standby: { no: 429 }, primary: { yes: 204 } } },
    });
    await eventually(() => expect(a.role).toBe("leader"));
    const port = a.healthPort as number;
    const ended = ["Host: x", "Connection: close"];
    const old = await rawHttp(port, ["OPTIONS /leader HTTP/1.0"]);
    expect([old.status, old.headers.get("allow"), old.headers.get("connection")]).toEqual([
      200,
      "GET, HEAD, OPTIONS",
      "close",
    ]);
    const get = await rawHttp(port, ["GET /leader HTTP/1.1", ...ended]);
    const head = await rawHttp(port, ["HEAD /leader HTTP/1.1", ...ended]);
    expect([head.status, head.body]).toEqual([200, ""]);
    expect(head.headers.get("content-length")).toBe(get.headers.get("content-length"));
    expect(JSON.parse(get.body)).toMatchObject({ ok: true, role: "leader" });
    expect((await rawHttp(port, ["GET /standby HTTP/1.0"])).status).toBe(429);
    const bodiless = await rawHttp(port, ["GET /primary HTTP/1.1", ...ended]);
    expect([bodiless.status, bodiless.headers.has("content-length"), bodiless.body]).toEqual([
      204,
      false,
      "",
    ]);
    expect((await rawHttp(port, ["GET /live?verbose=1 HTTP/1.0"])).status).toBe(200);
    expect((await rawHttp(port, ["GET http://a.example/health HTTP/1.1", ...ended])).status).toBe(200);
    expect((await rawHttp(port, ["OPTIONS * HTTP/1.1", ...ended])).status).toBe(404);
    const post = await rawHttp(port, ["POST /leader HTTP/1.1", ...ended, "Content-Length: 2"], "hi");
    expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD, OPTIONS"]);
    const unknown = await rawHttp(port, ["GET /master HTTP/1.0"]);
    expect([unknown.status, JSON.parse(unknown.body).reason]).toEqual([
      404,
      expect.stringContaining("/primary"),
    ]);
    // Two checks on one connection.
    const both = await rawHttp(port, ["GET /live HTTP/1.1", "Host: x", "", "GET /live HTTP/1.1", ...ended]);
    expect(both.body.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(1);
    await a.leave();
  });

  test("on a port that is taken reject the joining, and no key was ever there", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as { port: number };
    const name = election();
    let led = false;
    const lead = (): void => {
      led = true;
    };
    const before = server.store.revision;
    await expect(join("a", name, { health: { port }, lead })).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: `health.port must be a port that nobody listens on at 127.0.0.1 (free it, choose another, or 0 for any), got ${port}`,
    });
    await expect(join("a", name, { health: { port: 0, host: "192.0.2.1" } })).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringContaining("health.host must be an address of this machine"),
    });
    expect([led, server.store.revision]).toEqual([false, before]);
    taken.close();
  });
});

/** A member in a process of its own that blocks for as many milliseconds as a line on standard input says. */
function member(endpoint: string, ttlSeconds: number): Child {
  const program = `
    import { Member } from "succession";
    const member = await Member.join({
      endpoints: ["${endpoint}"], election: "/blocked/${++elections}", id: "a", ttlSeconds: ${ttlSeconds},
      health: { port: 0 }, lead: (term) => new Promise((stop) => term.signal.addEventListener("abort", stop)),
    });
    process.stdout.write("port " + member.healthPort + "\\n");
    process.stdin.on("data", (line) => {
      if (String(line).startsWith("leave")) return void member.leave().then(() => process.stdin.destroy());
      process.stdout.write("blocks\\n");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(line));
    });
  `;
  const cwd = new URL("../..", import.meta.url).pathname;
  return Child.start({ args: ["--input-type=module", "-e", program], cwd, keepInputOpen: true });
}

describe("a process", () => {
  test("whose event loop is blocked still answers: /leader no at once, /live no after a TTL", async () => {
    const child = member(server.endpoint, 2);
    const port = Number((await child.waitFor("port", 60_000)).slice(5));
    await eventually(async () => expect((await ask(port, "/leader")).code).toBe(200));
    await eventually(async () => expect(await leaderMetric(port)).toBe("1"));
    child.write("6000\n");
    await child.waitFor("blocks", 5_000);
    const start = performance.now();
    expect(await ask(port, "/leader")).toEqual({
      code: 503,
      body: { ok: false, reason: "the event loop is blocked" },
    });
    expect(performance.now() - start).toBeLessThan(1_500);
    expect((await ask(port, "/live")).code).toBe(200);
    expect(await leaderMetric(port)).toBe("0");
    await eventually(async () => expect((await ask(port, "/live")).code).toBe(503));
    // And again when it has gone on.
    await eventually(async () => expect((await ask(port, "/live")).code).toBe(200), { timeoutMs: 10_000 });
    await child.kill();
  }, 90_000);

  test("that was stopped past its deadline never says leader again without a new proof", async () => {
    const child = member(server.endpoint, 2);
    const port = Number((await child.waitFor("port", 60_000)).slice(5));
    await eventually(async () => expect((await ask(port, "/leader")).code).toBe(200));
    const first = (await ask(port, "/status")).body.token;
    await child.stop();
    // Sent to a process that stands still, answered when it goes on: by then the term is over.
    const asked = Array.from({ length: 20 }, () => ask(port, "/status"));
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    child.cont();
    const tokens = (await Promise.all(asked)).map(({ body }) => body.token);
    expect(tokens).not.toContain(first);
    await child.kill();
  }, 90_000);

  test("ends by itself after leave", async () => {
    const child = member(server.endpoint, 2);
    await child.waitFor("port", 60_000);
    child.write("leave\n");
    expect(await child.exit).toEqual({ code: 0, signal: null });
    expect(child.stderr).toBe("");
  }, 90_000);
});
