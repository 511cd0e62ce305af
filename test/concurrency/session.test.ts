import { describe, expect, test } from "vitest";
import { Session, type SessionOptions } from "../../src/concurrency/session.ts";
import type { EndedError } from "../../src/errors.ts";
import { MemoryEtcd, type MemoryNetwork } from "../support/memory-transport.ts";

const ttlSeconds = 10;
const marginMs = 250;

/** A session of 10 s on a store in memory. */
async function opened(options: SessionOptions = {}, endpoints: number = 1) {
  const memory = new MemoryEtcd();
  const network = memory.network(endpoints);
  const etcd = network.client();
  const session = await Session.open(etcd, { ttlSeconds, ...options });
  return { ...memory, memory, network, etcd, session };
}

const sends = (network: MemoryNetwork, method: string): readonly number[] =>
  network.sent.filter((each) => each.method === method).map((each) => each.at);

const causeOf = (session: Session): string => (session.signal.reason as EndedError).endCause;

describe("the deadline", () => {
  test("counts from the instant before the grant was sent, however long the answer took", async () => {
    const memory = new MemoryEtcd();
    const network = memory.network();
    network.delayMs = 400;
    const opening = Session.open(network.client(), { ttlSeconds });
    await memory.clock.advance(800);
    const session = await opening;
    expect(session.remainingMs).toBe(10_000 - 800 - marginMs);
  });

  test("counts from the send of the last answered keepalive", async () => {
    const { clock, network, session } = await opened();
    network.delayMs = 300;
    await clock.advance(5_000);
    const [sentAt] = sends(network, "LeaseKeepAlive");
    expect(sentAt).toBeGreaterThan(0);
    expect(clock.now() + session.remainingMs).toBe((sentAt as number) + 10_000 - marginMs);
  });

  test.each([
    [1, 2, 250],
    [10, 10, 250],
    [60, 60, 1_200],
  ])("of a TTL of %d s asked for is that of the %d s granted, less %d ms", async (asked, granted, margin) => {
    const { session } = await opened({ ttlSeconds: asked });
    expect(session.ttlSeconds).toBe(granted);
    expect(session.remainingMs).toBe(granted * 1_000 - margin);
  });

  test("ends the session on time even while a keepalive hangs", async () => {
    const { clock, network, session } = await opened();
    network.silent = true;
    await clock.advance(10_000 - marginMs - 1);
    expect(session.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(session.signal.reason).toMatchObject({ code: "SESSION_LOST", endCause: "deadline" });
    expect(session.remainingMs).toBe(0);
  });

  test("is kept though renewals fail for two thirds of the TTL", async () => {
    const { clock, network, session } = await opened();
    network.silent = true;
    await clock.advance(6_600);
    network.heal();
    await clock.advance(60_000);
    expect(session.signal.aborted).toBe(false);
  });

  test("has passed at the first question after the machine was suspended", async () => {
    const { clock, session } = await opened();
    clock.jump(9_750);
    expect(session.signal.aborted).toBe(false);
    expect(session.remainingMs).toBe(0);
    await clock.advance(0);
    expect(causeOf(session)).toBe("deadline");
  });

  test("is not revived by an answer that arrives after it, before any timer has fired", async () => {
    const { clock, network, session } = await opened();
    network.dropAnswers = (method) => method === "LeaseKeepAlive";
    // The keepalive is under way, and its answer waits in the socket of a process that is stopped.
    await clock.advance(sendsDue(clock.now()));
    expect(sends(network, "LeaseKeepAlive")).toHaveLength(1);
    clock.jump(20_000);
    network.heal();
    await Promise.resolve();
    expect(session.remainingMs).toBe(0);
    await clock.advance(0);
    expect(causeOf(session)).toBe("deadline");
  });
});

/** Until the first keepalive has surely been sent and not yet been given up. */
const sendsDue = (now: number): number => 10_000 / 3 + 400 - now;

describe("renewal", () => {
  test("tries two endpoints at least before the deadline, at every TTL", async () => {
    for (const seconds of [2, 3, 5, 10, 30, 60]) {
      const { clock, network, session } = await opened({ ttlSeconds: seconds }, 3);
      network.silent = true;
      await clock.advance(session.remainingMs);
      const asked = network.sent.filter((each) => each.method === "LeaseKeepAlive");
      expect(new Set(asked.map((each) => each.endpoint)).size).toBeGreaterThanOrEqual(2);
      expect(causeOf(session)).toBe("deadline");
    }
  });

  test("moves to the next endpoint when one is silent, and the session lives on", async () => {
    const { clock, network, session } = await opened({}, 3);
    const first = network.links.find((link) => link.connected);
    if (first === undefined) throw new Error("no link is in use");
    first.silent = true;
    await clock.advance(120_000);
    expect(session.signal.aborted).toBe(false);
    expect(network.links.some((link) => link !== first && link.streams.size > 0)).toBe(true);
    expect(network.openStreams("LeaseKeepAlive")).toBe(1);
  });

  test("goes on though the stream is broken again and again", async () => {
    const { clock, network, session } = await opened({}, 2);
    for (let at = 0; at < 200; at++) {
      await clock.advance(777);
      network.break();
    }
    expect(session.signal.aborted).toBe(false);
  });

  test("does not take the answer of a closed stream for one of the next", async () => {
    const { clock, network, session } = await opened({}, 1);
    network.dropAnswers = true;
    // Several keepalives, each given up with its stream: etcd renewed the lease, but nothing proves when.
    await clock.advance(9_000);
    expect(sends(network, "LeaseKeepAlive").length).toBeGreaterThan(1);
    const before = session.remainingMs;
    network.heal();
    await Promise.resolve();
    const latest = sends(network, "LeaseKeepAlive").at(-1) as number;
    // At most the stream that stands may have been answered, and it proves from its own send.
    expect([before, latest + 10_000 - marginMs - clock.now()]).toContain(session.remainingMs);
    await clock.advance(20_000);
    expect(session.signal.aborted).toBe(false);
  });

  test("renews no sooner than after 30 % and no later than after 36.7 % of the TTL", async () => {
    const { clock, network } = await opened();
    await clock.advance(600_000);
    const at = [0, ...sends(network, "LeaseKeepAlive")];
    const gaps = at.slice(1).map((instant, index) => instant - (at[index] as number));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(3_000);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(3_667);
    expect(Math.max(...gaps) - Math.min(...gaps)).toBeGreaterThan(300);
  });

  test("with three endpoints silent is bounded: no storm", async () => {
    const { clock, network, session } = await opened({}, 3);
    network.refuse = true;
    network.break();
    await clock.advance(9_750);
    expect(causeOf(session)).toBe("deadline");
    expect(sends(network, "LeaseKeepAlive").length).toBeLessThan(60);
  });
});

describe("the end", () => {
  test("comes at once when etcd says that the lease is gone", async () => {
    const { clock, store, session } = await opened();
    store.leaseRevoke({ ID: session.leaseId });
    await clock.advance(3_700);
    expect(causeOf(session)).toBe("lease-gone");
  });

  test("close revokes the lease, can be called twice, and leaves no timer", async () => {
    const { memory, clock, store, network, session } = await opened();
    await clock.advance(5_000);
    expect(network.openStreams("LeaseKeepAlive")).toBe(1);
    await Promise.all([session.close(), session.close()]);
    await session.close();
    expect(causeOf(session)).toBe("closed");
    expect(store.leaseLeases().leases).toEqual([]);
    expect(network.count("LeaseRevoke")).toBe(1);
    expect(network.openStreams()).toBe(0);
    expect(memory.pending).toBe(0);
  });

  test("close is bounded in time when etcd is silent, and nothing is left once the client is closed", async () => {
    const { memory, clock, network, etcd, session } = await opened();
    network.silent = true;
    let closed = false;
    const closing = session.close({ timeoutMs: 1_000 }).then(() => {
      closed = true;
    });
    expect(session.remainingMs).toBe(0);
    await clock.advance(999);
    expect(closed).toBe(false);
    await clock.advance(1);
    await closing;
    await etcd.close();
    await clock.advance(0);
    expect(memory.pending).toBe(0);
  });

  test("by the deadline revokes the lease as soon as etcd answers again", async () => {
    const { clock, store, network, session } = await opened();
    // The store keeps the lease alive through its own outage.
    store.pause();
    network.silent = true;
    await clock.advance(10_000);
    expect(causeOf(session)).toBe("deadline");
    store.resume();
    network.heal();
    await clock.advance(2_000);
    expect(store.leaseLeases().leases).toEqual([]);
  });

  test("leaves revoking to the owner who wants that", async () => {
    const { clock, store, network, session } = await opened();
    session.leaveRevokingToOwner();
    store.pause();
    network.silent = true;
    await clock.advance(10_000);
    store.resume();
    network.heal();
    await clock.advance(2_000);
    expect(network.count("LeaseRevoke")).toBe(0);
    await session.revoke();
    expect(store.leaseLeases().leases).toEqual([]);
  });

  test("orphan leaves the lease to live out its time, and another session can take it over", async () => {
    const { store, etcd, session } = await opened();
    session.orphan();
    await session.close();
    expect(store.leaseLeases().leases).toHaveLength(1);
    const heir = await Session.open(etcd, { leaseId: session.leaseId });
    expect(heir.leaseId).toBe(session.leaseId);
    expect(heir.ttlSeconds).toBe(ttlSeconds);
    await heir.close();
    expect(store.leaseLeases().leases).toEqual([]);
  });

  test("comes by the deadline once renewal is stopped", async () => {
    const { clock, session } = await opened();
    await clock.advance(5_000);
    session.stopRenewing();
    const left = session.remainingMs;
    await clock.advance(left - 1);
    expect(session.signal.aborted).toBe(false);
    await clock.advance(1);
    expect(causeOf(session)).toBe("deadline");
  });

  test("comes with the client's", async () => {
    const { memory, etcd, session } = await opened();
    await etcd.close();
    expect(causeOf(session)).toBe("closed");
    await session.close();
    expect(memory.pending).toBe(0);
  });

  test("comes when the store went back, and the lease in the restored store is revoked", async () => {
    const { clock, store, etcd, session } = await opened();
    const backup = store.snapshot();
    for (let at = 0; at < 5; at++) await etcd.put("k", `${at}`);
    store.restore(backup);
    await etcd.range("k");
    expect(causeOf(session)).toBe("store-restored");
    await clock.advance(1_000);
    expect(store.leaseLeases().leases).toEqual([]);
  });
});

describe("open", () => {
  test.each([0, 1.5, -3, 9_000_000_001, Number.NaN])("refuses a TTL of %d", async (bad) => {
    const { etcd } = await opened();
    await expect(Session.open(etcd, { ttlSeconds: bad })).rejects.toMatchObject({ code: "BAD_OPTION" });
  });

  test("repeats a grant whose answer was lost with the same id: one lease, counted from the first send", async () => {
    const memory = new MemoryEtcd();
    const network = memory.network(2);
    network.dropAnswers = true;
    const opening = Session.open(network.client(), { ttlSeconds });
    await memory.clock.advance(100);
    for (const link of network.links) link.dropAnswers = false;
    await memory.clock.advance(5_000);
    const session = await opening;
    expect(memory.store.leaseLeases().leases.map(({ ID }) => ID)).toEqual([session.leaseId]);
    expect(network.count("LeaseGrant")).toBe(2);
    // It may have been granted at the first attempt; a renewal may have moved it on since.
    expect(session.remainingMs).toBeLessThanOrEqual(10_000 - marginMs);
  });

  test("fails when the grant's answer is read after the lease has run out", async () => {
    const memory = new MemoryEtcd();
    const network = memory.network();
    network.dropAnswers = true;
    const opening = Session.open(network.client(), { ttlSeconds });
    const failed = expect(opening).rejects.toMatchObject({ code: "SESSION_LOST", endCause: "deadline" });
    await memory.clock.advance(0);
    memory.clock.jump(9_750);
    network.heal();
    await failed;
    await memory.clock.advance(1_000);
    expect(memory.store.leaseLeases().leases).toEqual([]);
  });

  test("rejects with ETCD_UNAVAILABLE when nobody answers in time", async () => {
    const memory = new MemoryEtcd();
    const network = memory.network();
    network.refuse = true;
    const opening = Session.open(network.client(), { timeoutMs: 3_000 });
    const failed = expect(opening).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
    await memory.clock.advance(3_000);
    await failed;
  });

  test("of a lease that is gone rejects with SESSION_LOST", async () => {
    const { etcd } = await opened();
    await expect(Session.open(etcd, { leaseId: 4711n })).rejects.toMatchObject({ code: "SESSION_LOST" });
  });

  test("aborted after any number of steps leaves no lease and no timer", async () => {
    for (let steps = 0; steps < 40; steps++) {
      const memory = new MemoryEtcd();
      const network = memory.network();
      const etcd = network.client();
      const reason = new Error("enough");
      const abort = new AbortController();
      const opening = Session.open(etcd, { signal: abort.signal }).then(
        (session) => ({ session }),
        (error: unknown) => ({ error }),
      );
      for (let at = 0; at < steps; at++) await Promise.resolve();
      abort.abort(reason);
      const result = await opening;
      if ("session" in result) await result.session.close();
      else expect(result.error).toBe(reason);
      await memory.clock.advance(1_000);
      expect(memory.store.leaseLeases().leases).toEqual([]);
      expect(memory.pending).toBe(0);
    }
  });
});
