import type { Server } from "node:http";
import express from "express";
import fastify from "fastify";
import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from "vitest";
import { Member } from "../../src/member/member.ts";
import { type LeaderOnly, leaderOnly } from "../../src/traffic/leader-only.ts";
import { gate } from "../member/world.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { rawHttp } from "../support/raw-http.ts";
import { listenWithHono } from "./hono-app.mjs";
import { bench } from "./service.ts";

const store = bench();

/** What each application answers to `POST /echo` with JSON: its name, the token, and the body as it was parsed. */
interface App {
  listen(port: number): Promise<{ close(): Promise<void> }>;
}

/** What the handler of `/slow` waits for before it answers. */
type Wait = (signal: AbortSignal | undefined) => Promise<void>;

function closing(server: Server): { close(): Promise<void> } {
  return {
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const kinds: Readonly<Record<string, (name: string, guard: LeaderOnly, wait: Wait) => App>> = {
  "Express 5": (name, guard, wait) => {
    const app = express();
    app.use(guard.handle);
    app.use(express.json());
    app.post("/echo", (request, response) => {
      response.json({ name, token: request.get("x-succession-token"), body: request.body });
    });
    app.get("/slow", async (request, response) => {
      await wait(guard.admission(request)?.signal);
      response.send(name);
    });
    return {
      listen: async (port) => {
        const server = app.listen(port, "127.0.0.1");
        await new Promise((resolve) => server.once("listening", resolve));
        return closing(server);
      },
    };
  },
  "Fastify 5": (name, guard, wait) => {
    const app = fastify({ forceCloseConnections: true });
    app.addHook("onRequest", guard.fastify);
    app.post("/echo", async ({ headers, body }) => ({ name, token: headers["x-succession-token"], body }));
    app.get("/slow", async ({ raw }) => {
      await wait(guard.admission(raw)?.signal);
      return name;
    });
    return {
      listen: async (port) => {
        await app.listen({ port, host: "127.0.0.1" });
        return app;
      },
    };
  },
  Hono: (name, guard, wait) => ({
    listen: async (port) => closing(await listenWithHono(name, guard, wait, port)),
  }),
};

// Where a framework and the guard both answer, it is told there.
let complaints: MockInstance;
beforeEach(() => {
  complaints = vi.spyOn(console, "error");
});
afterEach(() => {
  expect(complaints).not.toHaveBeenCalled();
  complaints.mockRestore();
});

describe.each(Object.entries(kinds))("a guard in %s", (_kind, make) => {
  async function start(otherwise: "respond" | "forward", wait: Wait = async () => {}) {
    const election = store.election();
    const started = [];
    for (const name of ["a", "b"]) {
      const [port] = (await freePorts(1)) as [number];
      const id = `${name}:127.0.0.1:${port}`;
      const settings = { election, id, stopTimeoutMs: 5_000 };
      const member = await Member.join({ endpoints: [store.endpoint], ...settings });
      const guard = leaderOnly(member, { otherwise });
      const server = await make(name, guard, wait).listen(port);
      started.push({ member, guard, port, close: () => Promise.all([member.leave(), server.close()]) });
    }
    const [a, b] = started as [(typeof started)[0], (typeof started)[0]];
    await eventually(() => expect([a.member.role, b.member.line.length]).toEqual(["leader", 2]));
    return { a, b };
  }

  const body = JSON.stringify({ hello: "world" });
  const post = (port: number) =>
    rawHttp(
      port,
      [
        ...["POST /echo HTTP/1.1", "Host: x", "Connection: close", "X-Succession-Token: forged"],
        ...["Content-Type: application/json", `Content-Length: ${body.length}`],
      ],
      body,
    );

  test("lets pass on the leader alone, with the token", async () => {
    const { a, b } = await start("respond");
    const token = `${a.member.term?.token}`;
    const answer = await post(a.port);
    expect(JSON.parse(answer.body)).toEqual({ name: "a", token, body: { hello: "world" } });
    const refused = await post(b.port);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(refused.headers.get("x-succession-leader")).toMatch(/^a:/);
    await eventually(() => expect(a.guard.inFlight).toBe(0));
    await a.close();
    await b.close();
  });

  test("forwards to the leader, and holds while nobody leads", async () => {
    const { a, b } = await start("forward");
    const first = `${a.member.term?.token}`;
    expect(JSON.parse((await post(b.port)).body)).toEqual({
      name: "a",
      token: first,
      body: { hello: "world" },
    });
    const leaving = a.member.leave();
    const held = post(a.port);
    await leaving;
    await eventually(() => expect(b.member.role).toBe("leader"));
    const second = `${b.member.term?.token}`;
    expect(JSON.parse((await held).body)).toEqual({ name: "b", token: second, body: { hello: "world" } });
    expect(JSON.parse((await post(b.port)).body)).toMatchObject({ name: "b", token: second });
    await a.close();
    await b.close();
  });

  test("finishes what is in flight before the key goes", async () => {
    const go = gate();
    const signals: (AbortSignal | undefined)[] = [];
    const { a, b } = await start("respond", async (signal) => {
      signals.push(signal);
      await go.opened;
    });
    const slow = rawHttp(a.port, ["GET /slow HTTP/1.1", "Host: x", "Connection: close"]);
    await eventually(() => expect([a.guard.inFlight, signals.length]).toEqual([1, 1]));
    const leaving = a.member.leave();
    await eventually(() => expect(a.member.phase).toBe("demoting"));
    expect([b.member.role, b.member.line.length]).toEqual(["standby", 2]);
    go.open();
    expect(await slow).toMatchObject({ status: 200, body: "a" });
    await leaving;
    expect(signals[0]?.aborted).toBe(false);
    await a.close();
    await b.close();
  });
});
