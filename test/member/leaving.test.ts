import { describe, expect, test } from "vitest";
import { Member } from "../../src/member/member.ts";
import { collect, election, gate, notebook, World, watched } from "./world.ts";

const nothing = { keys: [], leases: [], timers: 0, streams: 0 };

function remains(world: World, ...networks: { openStreams(): number }[]): typeof nothing {
  const streams = networks.reduce((sum, network) => sum + network.openStreams(), 0);
  return { keys: world.keys, leases: world.leases, timers: world.pending, streams } as typeof nothing;
}

describe("leaving", () => {
  test("hands the lead to the next in line, and leaves nothing", async () => {
    const world = new World();
    const { member: a, network } = await world.join("a", { address: "10.0.0.1:80" });
    const { member: b } = await world.join("b");
    await a.leave();
    await world.settle();
    expect([a.role, a.phase, a.leader, a.line, b.role]).toEqual([
      "standby",
      "outside",
      undefined,
      [],
      "leader",
    ]);
    await b.leave();
    expect(remains(world, network)).toEqual(nothing);
  });

  test("twice is leaving once", async () => {
    const world = new World();
    const { member, network } = await world.join("a");
    const requests = network.sent.length;
    await Promise.all([member.leave(), member.leave({ timeoutMs: 1 })]);
    await member.leave();
    // The record of the term, the key, the lease.
    const sent = network.sent.slice(requests).map(({ method }) => method);
    expect(sent).toEqual(["Txn", "Txn", "LeaseRevoke"]);
  });

  test("is what the end of an `await using` block does", async () => {
    const world = new World();
    {
      await using member = await Member.join(world.options(world.network(), "a"));
      expect(member.phase).not.toBe("outside");
    }
    expect(remains(world)).toEqual(nothing);
  });

  test("refuses a limit that is no time, and does not leave", async () => {
    const world = new World();
    const { member } = await world.join("a");
    await expect(member.leave({ timeoutMs: Number.NaN })).rejects.toMatchObject({ code: "BAD_OPTION" });
    expect(member.role).toBe("leader");
    await member.leave();
  });

  test.each([
    [undefined, 3_000],
    [700, 700],
  ])("with a limit of %s takes no longer than %i ms when etcd is silent", async (timeoutMs, limit) => {
    const world = new World();
    const { logger, said } = notebook();
    const { member, network } = await world.join("a", { logger });
    network.silent = true;
    const leaving = watched(member.leave(timeoutMs === undefined ? {} : { timeoutMs }));
    expect(member.role).toBe("standby");
    await world.advance(limit - 1);
    expect(leaving.state).toBe("pending");
    await world.advance(1);
    expect(leaving.state).toBe("resolved");
    expect(said.find(({ message }) => message.startsWith("left before"))).toMatchObject({ level: "warn" });
    expect([world.pending, network.openStreams()]).toEqual([0, 0]);
    await world.advance(11_000);
    expect([world.keys, world.leases]).toEqual([[], []]);
  });

  test("with a client that is not its own stops its requests soon, and leaves the client usable", async () => {
    const world = new World();
    const network = world.network();
    const etcd = network.client();
    const member = await Member.join({ etcd, election, id: "a" });
    network.silent = true;
    void member.leave();
    await world.advance(3_000);
    await world.advance(2_000);
    expect(world.pending).toBe(0);
    network.heal();
    await etcd.put("/still", "usable");
    await etcd.close();
  });

  test("gives the key back even where the work stops after the limit, on a client that is not its own", async () => {
    const world = new World();
    const etcd = world.network().client();
    const stop = gate();
    const member = await Member.join({ etcd, election, id: "a", lead: () => stop.opened });
    await world.settle();
    expect(member.role).toBe("leader");
    const leaving = member.leave({ timeoutMs: 10 });
    await world.advance(10);
    await leaving;
    expect(world.line).toEqual(["a"]);
    stop.open();
    await world.settle();
    expect([world.keys, world.leases, world.pending]).toEqual([[], [], 0]);
    await etcd.close();
  });

  test("while it waits for etcd to come back ends the waiting", async () => {
    const world = new World();
    const { member, network } = await world.join("a");
    network.silent = true;
    await world.advance(60_000);
    expect(member.phase).toBe("outside");
    const leaving = watched(member.leave());
    await world.advance(3_000);
    expect(leaving.state).toBe("resolved");
    expect([world.pending, network.openStreams()]).toEqual([0, 0]);
  });

  test("does not delete the key under work that still runs", async () => {
    const world = new World();
    const stop = gate();
    const { member } = await world.join("a", { lead: () => stop.opened });
    const leaving = watched(member.leave());
    await world.advance(3_000);
    expect([leaving.state, world.line]).toEqual(["resolved", ["a"]]);
    // Its lease is not renewed any more.
    await world.advance(10_500);
    expect(world.line).toEqual([]);
    stop.open();
  });

  test("ends every reader of changes after the last change", async () => {
    const world = new World();
    const { member } = await world.join("a");
    const seen: string[] = [];
    const reading = (async () => {
      for await (const { phase } of member.changes()) seen.push(phase);
    })();
    await world.settle();
    await member.leave();
    await reading;
    expect(seen).toEqual(["leading", "demoting", "outside"]);
    const late: string[] = [];
    for await (const { phase } of member.changes()) late.push(phase);
    expect(late).toEqual(["outside"]);
  });

  test("two hundred times leaves nothing behind", async () => {
    const world = new World();
    const { member: other } = await world.join("other");
    await other.leave();
    const shared = world.network();
    const etcd = shared.client();
    for (let round = 0; round < 200; round++) {
      const options = {
        election,
        id: `m${round}`,
        lead: () => new Promise<void>(() => {}),
        timeoutMs: 60_000,
      };
      const member = await Member.join({ etcd, ...options, lead: ({ signal }) => aborted(signal) });
      collect(member);
      await world.settle();
      expect(member.role).toBe("leader");
      await member.leave();
      expect(remains(world, shared)).toEqual(nothing);
    }
    await etcd.close();
  });
});

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
