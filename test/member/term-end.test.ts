import { afterEach, describe, expect, test, vi } from "vitest";
import { Member } from "../../src/member/member.ts";
import { collect, election, gate, notebook, World, watched } from "./world.ts";

afterEach(() => void vi.restoreAllMocks());

/** TTL 10 s: margin 250 ms, so the deadline is 9750 ms after the last renewal's send; stop time 1 s. */
const ttlSeconds = 10;
const deadlineMs = 9_750;
const stopByMs = 8_750;

describe("what a member says of itself is computed when asked", () => {
  test("after a sleep past the deadline it is a standby before any timer or event", async () => {
    const world = new World();
    const { member } = await world.join("a");
    const { term } = member;
    expect([member.role, member.phase]).toEqual(["leader", "leading"]);
    world.clock.jump(60_000);
    expect([member.role, member.phase, member.term, term?.remainingMs]).toEqual([
      "standby",
      "demoting",
      undefined,
      0,
    ]);
    expect(member.leader).toBeUndefined();
    expect(term?.signal.aborted).toBe(false);
    await world.advance(0);
    expect(term?.signal.reason).toMatchObject({ code: "TERM_ENDED", endCause: "deadline" });
    await member.leave();
  });

  test("a leader that nothing confirms is unknown after a TTL to a standby, and known again afterwards", async () => {
    const world = new World();
    const { member: a } = await world.join("a");
    const { member: b, network } = await world.join("b");
    const changes = collect(b);
    expect(b.leader?.id).toBe("a");
    network.silent = true;
    await world.advance(40_000);
    expect([b.leader, b.phase]).toEqual([undefined, "outside"]);
    expect(changes.at(-1)).toMatchObject({ phase: "outside", leader: undefined, cause: "deadline" });
    network.heal();
    await world.advance(20_000);
    expect([b.leader?.id, b.phase]).toEqual(["a", "waiting"]);
    expect(changes.at(-1)).toMatchObject({ phase: "waiting", leader: { id: "a" }, cause: undefined });
    await Promise.all([a.leave(), b.leave()]);
  });
});

describe("the end of a term", () => {
  test("goes in order: standby, signal, work, key, lease", async () => {
    const world = new World();
    const order: string[] = [];
    const stop = gate();
    const stopping = gate();
    const { member, network } = await world.join("a", {
      lead: async ({ signal }) => {
        signal.addEventListener("abort", () => {
          order.push(`signal, ${member.role}, ${member.phase}`);
          stopping.open();
        });
        await stopping.opened;
        await stop.opened;
        order.push(`work stopped, key ${world.line.length}`);
      },
    });
    const before = network.sent.length;
    void (async () => {
      for await (const change of member.changes()) if (change.phase === "demoting") order.push("told");
    })();
    await world.settle();
    const leaving = member.leave();
    await world.advance(900);
    expect([order, world.line]).toEqual([["signal, standby, demoting", "told"], ["a"]]);
    stop.open();
    await leaving;
    expect(order.at(-1)).toBe("work stopped, key 1");
    const sent = network.sent.slice(before).map(({ method }) => method);
    expect(sent.slice(-2)).toEqual(["Txn", "LeaseRevoke"]);
    expect([world.keys, world.leases]).toEqual([[], []]);
  });

  test("begins, without renewal, so long before the deadline as the work needs to stop", async () => {
    const world = new World();
    const stop = gate();
    const { member, network } = await world.join("a", { ttlSeconds, lead: () => stop.opened });
    const { term } = member;
    network.silent = true;
    const remainingMs = term?.remainingMs ?? 0;
    expect(remainingMs).toBe(stopByMs);
    await world.advance(stopByMs - 1);
    expect([member.role, term?.signal.aborted]).toEqual(["leader", false]);
    await world.advance(1);
    expect([member.role, member.phase, term?.signal.aborted]).toEqual(["standby", "demoting", true]);
    stop.open();
    void member.leave();
    await world.advance(5_000);
  });

  test("with stopTimeoutMs begins that much before the deadline", async () => {
    const world = new World();
    const { member, network } = await world.join("a", { ttlSeconds, stopTimeoutMs: 4_000 });
    network.silent = true;
    await world.advance(deadlineMs - 4_000 - 1);
    expect(member.role).toBe("leader");
    await world.advance(1);
    expect(member.role).toBe("standby");
    void member.leave();
    await world.advance(6_000);
  });

  test("keeps the key, renewed, while the work stops within its time", async () => {
    const world = new World();
    const stop = gate();
    const { member: a } = await world.join("a", {
      ttlSeconds,
      stopTimeoutMs: 5_000,
      lead: () => stop.opened,
    });
    const { member: b } = await world.join("b", { ttlSeconds });
    const leaving = a.leave();
    await world.advance(4_999);
    expect([world.line, b.role]).toEqual([["a", "b"], "standby"]);
    stop.open();
    await leaving;
    await world.settle();
    expect([world.line, b.role]).toEqual([["b"], "leader"]);
    await b.leave();
  });

  test("leaves the key to its deadline when the work does not stop, and says so", async () => {
    const world = new World();
    const { logger, said } = notebook();
    const stop = gate();
    const { member: a } = await world.join("a", { ttlSeconds, logger, lead: () => stop.opened });
    const { member: b } = await world.join("b", { ttlSeconds });
    await world.advance(5_000);
    void a.leave({ timeoutMs: 60_000 });
    await world.advance(1_000);
    expect(said.find(({ message }) => message.includes("not stopped in its time"))).toMatchObject({
      level: "error",
      fields: { election, id: "a", callback: "lead", stopTimeoutMs: 1_000 },
    });
    expect(world.line).toEqual(["a", "b"]);
    expect(said.some(({ message }) => message.includes("still runs"))).toBe(false);
    // The last renewal was less than 3.7 s before the budget ended.
    await world.advance(11_000);
    expect(said.find(({ message }) => message.includes("still runs"))).toMatchObject({
      fields: { callback: "lead" },
    });
    expect([world.line, b.role, a.phase]).toEqual([["b"], "leader", "demoting"]);
    stop.open();
    await world.settle();
    expect(a.phase).toBe("outside");
    await b.leave();
  });

  test("does not let the successor begin while the old work may still run, cut off or not", async () => {
    const world = new World();
    let acting = 0;
    const lead = async ({ signal }: { signal: AbortSignal }): Promise<void> => {
      acting++;
      expect(acting).toBe(1);
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => world.clock.at(world.clock.now() + 900, resolve));
      });
      acting--;
    };
    const { member: a, network } = await world.join("a", { ttlSeconds, lead });
    const { member: b, network: networkB } = await world.join("b", { ttlSeconds, lead });
    for (let round = 0; round < 5; round++) {
      network.silent = true;
      await world.advance(30_000);
      expect([a.role, b.role]).toEqual(["standby", "leader"]);
      network.heal();
      await world.advance(10_000);
      // The successor goes, too: so that the first one leads again in the next round.
      networkB.silent = true;
      await world.advance(30_000);
      networkB.heal();
      await world.advance(10_000);
      expect([a.role, b.role]).toEqual(["leader", "standby"]);
    }
    await Promise.all([a.leave(), b.leave(), world.advance(5_000)]);
  });

  test("exits at the deadline where onOverrun asks for it, and not before", async () => {
    const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
    const world = new World();
    const stop = gate();
    const { member, network } = await world.join("a", {
      ttlSeconds,
      onOverrun: "exit",
      lead: () => stop.opened,
    });
    network.silent = true;
    await world.advance(deadlineMs - 1);
    expect([member.phase, exit.mock.calls]).toEqual(["demoting", []]);
    await world.advance(2);
    expect(exit).toHaveBeenCalledExactlyOnceWith(1);
    stop.open();
    await world.settle();
    void member.leave();
    await world.advance(3_000);
  });

  test("does not exit where the work stopped in time, however late the timers were", async () => {
    const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
    const world = new World();
    const { member } = await world.join("a", {
      ttlSeconds,
      onOverrun: "exit",
      lead: ({ signal }) => new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve())),
    });
    world.clock.jump(60_000);
    await world.advance(5_000);
    expect([member.role, exit.mock.calls]).toEqual(["leader", []]);
    await member.leave();
  });

  test("exits at once where the deadline passed while all slept and the work does not stop", async () => {
    const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
    const world = new World();
    const { member } = await world.join("a", {
      ...{ ttlSeconds, stopTimeoutMs: 5_000, onOverrun: "exit" },
      lead: () => new Promise(() => {}),
    });
    world.clock.jump(60_000);
    await world.advance(1);
    expect(exit).toHaveBeenCalledExactlyOnceWith(1);
    void member.leave();
    await world.advance(10_000);
  });

  test("by another's deletion of the key gives the work its time, and no more", async () => {
    const world = new World();
    const { logger, said } = notebook();
    const stop = gate();
    const { member: a } = await world.join("a", { ttlSeconds, logger, lead: () => stop.opened });
    const { member: b } = await world.join("b", { ttlSeconds });
    const { key } = a.term ?? { key: "" };
    world.store.deleteRange({ key: new TextEncoder().encode(key) });
    await world.settle();
    expect([a.role, a.phase, b.role]).toEqual(["standby", "demoting", "leader"]);
    const overrun = (): boolean => said.some(({ message }) => message.includes("still runs"));
    await world.advance(999);
    expect(overrun()).toBe(false);
    await world.advance(2);
    expect(overrun()).toBe(true);
    stop.open();
    await world.advance(2_000);
    expect(world.line).toEqual(["b", "a"]);
    await Promise.all([a.leave(), b.leave()]);
  });

  test("takes the key back as soon as etcd answers, after an outage of five minutes", async () => {
    const world = new World();
    const { member: a, network } = await world.join("a", { ttlSeconds });
    const { member: b, network: networkB } = await world.join("b", { ttlSeconds });
    // All of etcd is away: no lease ends, and every one has its full TTL afterwards.
    world.store.pause();
    await world.advance(300_000);
    expect([a.role, b.role]).toEqual(["standby", "standby"]);
    expect(world.pending).toBeLessThan(40);
    world.store.resume();
    await world.advance(2_500);
    expect([a.role, b.role].toSorted()).toEqual(["leader", "standby"]);
    expect([world.line.toSorted(), world.leases.length]).toEqual([["a", "b"], 2]);
    await Promise.all([a.leave(), b.leave()]);
    expect([world.keys, world.leases, world.pending]).toEqual([[], [], 0]);
    expect([network.openStreams(), networkB.openStreams()]).toEqual([0, 0]);
  });
});

describe("a member of a client that is closed under it", () => {
  test("leaves, with cause closed, and its work gets the time to stop", async () => {
    const exit = vi.spyOn(process, "exit").mockReturnValue(undefined as never);
    const world = new World();
    const network = world.network();
    const shared = network.client();
    const stop = gate();
    const member = await Member.join({
      etcd: shared,
      election,
      id: "a",
      onOverrun: "exit",
      lead: () => stop.opened,
    });
    await world.settle();
    const { term } = member;
    const changes = collect(member);
    await shared.close();
    await world.advance(500);
    expect(term?.signal.reason).toMatchObject({ endCause: "closed" });
    stop.open();
    const leaving = watched(member.leave());
    await world.advance(10);
    expect([leaving.state, exit.mock.calls]).toEqual(["resolved", []]);
    expect(changes.at(-1)).toMatchObject({ phase: "outside", cause: "closed" });
    expect(world.pending).toBe(0);
  });
});
