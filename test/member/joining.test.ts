import { describe, expect, test, vi } from "vitest";
import { type GrpcCode, StatusError } from "../../src/devserver/status-error.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberOptions } from "../../src/member/options.ts";
import { World, watched } from "./world.ts";

const sound = { endpoints: ["127.0.0.1:1"], election: "/merc", id: "a" };
const etcd = new Etcd({ endpoints: ["127.0.0.1:1"] });
const { endpoints: _, ...withoutEndpoints } = sound;

describe("a bad option rejects at once, naming the field and the value", () => {
  test.each<[string, unknown, string]>([
    ["no options", undefined, "options must be an object, got undefined"],
    ["an unknown field", { ...sound, ttl: 3 }, 'options must be without unknown fields, got "ttl"'],
    ["an empty id", { ...sound, id: "" }, 'id must be not empty, got ""'],
    ["an id that is no text", { ...sound, id: 7 }, "id must be text such as name:ip:port, got 7"],
    [
      "too long an id",
      { ...sound, id: "é".repeat(2_049) },
      'id must be at most 4096 bytes, got "4098 bytes"',
    ],
    ["an empty election", { ...sound, election: "" }, 'election must be a name such as /merc, got ""'],
    [
      "a trailing /",
      { ...sound, election: "/merc/" },
      'election must be a name without a trailing /, got "/merc/"',
    ],
    ["our own prefix", { ...sound, election: "_succession/x" }, 'got "_succession/x"'],
    [
      "a beginning of our own prefix",
      { ...sound, election: "_succ" },
      "election must be a name that _succession/v1/",
    ],
    [
      "details in the line",
      { ...sound, metaPrefix: "/merc-meta/" },
      "election must be a name that /merc-meta/",
    ],
    ["a TTL of 0", { ...sound, ttlSeconds: 0 }, "ttlSeconds must be an integer of 1 or more, got 0"],
    ["half a second", { ...sound, ttlSeconds: 1.5 }, "ttlSeconds must be an integer of 1 or more, got 1.5"],
    ["a negative TTL", { ...sound, ttlSeconds: -3 }, "ttlSeconds must be an integer of 1 or more, got -3"],
    ["a TTL as text", { ...sound, ttlSeconds: "5" }, 'ttlSeconds must be an integer of 1 or more, got "5"'],
    ["a huge TTL", { ...sound, ttlSeconds: 1e10 }, "ttlSeconds must be at most 9000000000, got 10000000000"],
    [
      "over half the TTL to stop",
      { ...sound, stopTimeoutMs: 5_001 },
      "stopTimeoutMs must be from 0 to half of the TTL, 5000 ms",
    ],
    ["a negative time to stop", { ...sound, stopTimeoutMs: -1 }, "got -1"],
    ["no number to stop", { ...sound, stopTimeoutMs: Number.NaN }, "got NaN"],
    [
      "a negative wait",
      { ...sound, timeoutMs: -1 },
      "timeoutMs must be a number of milliseconds, 0 or more, got -1",
    ],
    ["no number to wait", { ...sound, timeoutMs: Number.NaN }, "timeoutMs must be"],
    ["a word for onLost", { ...sound, onLost: "die" }, 'onLost must be "rejoin" or "exit", got "die"'],
    ["a word for onOverrun", { ...sound, onOverrun: true }, 'onOverrun must be "exit" or "report", got true'],
    ["lead that is no function", { ...sound, lead: "serve" }, 'lead must be a function, got "serve"'],
    ["prepare that is null", { ...sound, prepare: null }, "prepare must be a function, got null"],
    ["an address that is no text", { ...sound, address: 8080 }, "address must be text, got 8080"],
    [
      "a signal that is none",
      { ...sound, signal: new AbortController() },
      "signal must be an AbortSignal, got an object",
    ],
    [
      "a logger that is none",
      { ...sound, logger: {} },
      "logger must be an object with debug, info, warn and error",
    ],
    [
      "both ways to etcd",
      { ...sound, etcd },
      'etcd and endpoints must be given one without the other, got "both"',
    ],
    ["no way to etcd", withoutEndpoints, "endpoints must be given, or else etcd, got undefined"],
    ["a client that is none", { ...withoutEndpoints, etcd: {} }, "etcd must be a client of this package"],
    ["no endpoint", { ...sound, endpoints: [] }, "endpoints must be a list of one address or more"],
    ["a worker that is none", { ...sound, worker: "yes" }, 'worker must be true or false, got "yes"'],
    [
      "too short a hang",
      { ...sound, hangAfterMs: 10 },
      "hangAfterMs must be a number of milliseconds, 250 or more",
    ],
    ["another end for a hang", { ...sound, onHang: "exit" }, 'onHang must be "kill" or "report", got "exit"'],
    [
      "a kill without the thread that can",
      { ...sound, worker: false, onHang: "kill" },
      'onHang must be "report" without a worker thread',
    ],
    ["a wrong scheme", { ...sound, endpoints: ["ftp://a:1"] }, 'got "ftp://a:1"'],
  ])("%s", async (_title, options, message) => {
    const joining = Member.join(options as MemberOptions);
    await expect(joining).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringContaining(message),
    });
  });
});

test("a kill is refused in process 1, which no signal from within ends", async () => {
  const pid = vi.spyOn(process, "pid", "get").mockReturnValue(1);
  const options = { ...sound, onHang: "kill" } as const;
  await expect(Member.join(options)).rejects.toMatchObject({
    code: "BAD_OPTION",
    message: expect.stringContaining("start it under an init"),
  });
  pid.mockRestore();
});

describe("joining", () => {
  test("resolves when the key exists, as leader where nobody stands before", async () => {
    const world = new World();
    const { member: a } = await world.join("a");
    const { member: b } = await world.join("b");
    expect(world.line).toEqual(["a", "b"]);
    expect([a.role, b.role]).toEqual(["leader", "standby"]);
    expect(b.leader).toMatchObject({ id: "a", token: a.term?.token });
    expect(b.line.map(({ id }) => id)).toEqual(["a", "b"]);
    await Promise.all([a.leave(), b.leave()]);
  });

  test("waits through an outage of ten minutes", async () => {
    const world = new World();
    const network = world.network();
    network.refuse = true;
    const joining = Member.join(world.options(network, "a"));
    const seen = watched(joining);
    await world.advance(600_000);
    expect(seen.state).toBe("pending");
    network.heal();
    await world.advance(2_000);
    expect(seen.state).toBe("resolved");
    expect(world.line).toEqual(["a"]);
    await (await joining).leave();
  });

  test("rejects with TIMEOUT when its time is over, and leaves nothing", async () => {
    const world = new World();
    const network = world.network();
    network.silent = true;
    const seen = watched(Member.join(world.options(network, "a", { timeoutMs: 3_000 })));
    await world.advance(2_999);
    expect(seen.state).toBe("pending");
    await world.advance(1);
    await world.advance(500);
    expect(seen).toMatchObject({
      state: "rejected",
      reason: { code: "TIMEOUT", message: "could not join /merc within 3000 ms" },
    });
    expect([world.pending, network.openStreams(), world.leases.length]).toEqual([0, 0, 0]);
  });

  test("rejects with TIMEOUT naming what was in the way", async () => {
    const world = new World();
    const network = world.network();
    network.refuse = true;
    const health = { check: () => Promise.reject(new Error("no disk")), unhealthyAfter: 1 };
    const seen = watched(Member.join(world.options(network, "a", { timeoutMs: 3_000, health })));
    await world.advance(3_500);
    const reason = /connect ECONNREFUSED [^;]*; the service is unhealthy: no disk\)$/;
    expect(seen).toMatchObject({ reason: { code: "TIMEOUT", message: expect.stringMatching(reason) } });
  });

  test("with a signal that has aborted sends nothing", async () => {
    const world = new World();
    const network = world.network();
    const reason = new Error("not now");
    const joining = Member.join(world.options(network, "a", { signal: AbortSignal.abort(reason) }));
    await expect(joining).rejects.toBe(reason);
    expect([network.sent.length, world.pending]).toEqual([0, 0]);
  });

  test("aborted at any moment leaves no key, lease, stream or timer", async () => {
    let joinedAt: number | undefined;
    for (let turns = 0; joinedAt === undefined; turns++) {
      const world = new World(turns);
      const network = world.network();
      const cancel = new AbortController();
      const reason = new Error("enough");
      const joining = Member.join(world.options(network, "a", { signal: cancel.signal, address: "x" }));
      const seen = watched(joining);
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      if (seen.state === "resolved") joinedAt = turns;
      cancel.abort(reason);
      await world.advance(1_000);
      await world.settle();
      if (joinedAt !== undefined || seen.state === "resolved") {
        await (await joining).leave();
        await world.settle();
      } else {
        expect(seen).toEqual({ state: "rejected", reason });
      }
      const left = { turns, keys: world.keys, leases: world.leases, streams: network.openStreams() };
      expect({ ...left, timers: world.pending }).toEqual({
        turns,
        keys: [],
        leases: [],
        streams: 0,
        timers: 0,
      });
    }
    expect(joinedAt).toBeGreaterThan(10);
  });

  test("aborted at any moment where every message takes 20 ms leaves no key, lease, stream or timer", async () => {
    for (let afterMs = 0; afterMs <= 160; afterMs += 10) {
      const world = new World(afterMs);
      const network = world.network();
      network.delayMs = 20;
      const cancel = new AbortController();
      const joining = Member.join(world.options(network, "a", { signal: cancel.signal }));
      const seen = watched(joining);
      await world.advance(afterMs);
      const joined = seen.state === "resolved";
      cancel.abort(new Error("enough"));
      const leaving = joined ? (await joining).leave() : undefined;
      await world.advance(1_000);
      await leaving;
      expect(seen.state).toBe(joined ? "resolved" : "rejected");
      const left = { afterMs, keys: world.keys, leases: world.leases, streams: network.openStreams() };
      expect({ ...left, timers: world.pending }).toEqual({
        afterMs,
        keys: [],
        leases: [],
        streams: 0,
        timers: 0,
      });
    }
  });

  test("on a client of the user's leaves it as it was", async () => {
    const world = new World();
    const network = world.network();
    const shared = network.client();
    network.silent = (method) => method === "Txn";
    const seen = watched(Member.join({ etcd: shared, election: "/merc", id: "a", timeoutMs: 5_000 }));
    await world.advance(5_000);
    network.heal();
    await world.advance(5_000);
    expect(seen).toMatchObject({ state: "rejected", reason: { code: "TIMEOUT" } });
    expect([world.keys, world.leases]).toEqual([[], []]);
    expect(network.openStreams()).toBe(0);
    expect(world.pending).toBe(0);
    await shared.put("/still", "usable");
    await shared.close();
  });

  test("rejects when the user's client is closed meanwhile, or was before", async () => {
    const world = new World();
    const network = world.network();
    network.silent = true;
    const shared = network.client();
    const joining = Member.join({ etcd: shared, election: "/merc", id: "a" });
    const seen = watched(joining);
    await world.advance(1_000);
    await shared.close();
    await world.settle();
    await world.advance(500);
    expect(seen).toMatchObject({
      state: "rejected",
      reason: { code: "CLOSED", message: "the etcd client is closed" },
    });
    expect(world.pending).toBe(0);
    await expect(Member.join({ etcd: shared, election: "/merc", id: "a" })).rejects.toMatchObject({
      code: "CLOSED",
    });
    expect(world.pending).toBe(0);
  });

  test("gives up at once on a refusal that repeating cannot help, but once a member only waits", async () => {
    const world = new World();
    const { member } = await world.join("a");
    const allowed = world.store.txn.bind(world.store);
    world.store.txn = () => {
      throw new StatusError(7 as GrpcCode, "etcdserver: permission denied");
    };
    const refused = Member.join(world.options(world.network(), "b"));
    await expect(refused).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    world.deleteLine();
    await world.advance(120_000);
    expect(world.line).toEqual([]);
    world.store.txn = allowed;
    await world.advance(5_000);
    expect([world.line, member.role]).toEqual([["a"], "leader"]);
    await member.leave();
    expect([world.keys, world.leases, world.pending]).toEqual([[], [], 0]);
  });
});
