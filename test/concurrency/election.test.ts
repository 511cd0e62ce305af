import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { Election } from "../../src/concurrency/election.ts";
import { Mutex } from "../../src/concurrency/mutex.ts";
import { Observer } from "../../src/concurrency/observer.ts";
import { Session } from "../../src/concurrency/session.ts";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { toBytes } from "../../src/etcd/bytes.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { eventually } from "../support/eventually.ts";
import { MemoryEtcd } from "../support/memory-transport.ts";

async function started(endpoints: number = 1) {
  const memory = new MemoryEtcd();
  const network = memory.network(endpoints);
  const etcd = network.client();
  const session = await Session.open(etcd);
  return { memory, network, etcd, session, clock: memory.clock, store: memory.store };
}

const count = ({ store }: MemoryEtcd, prefix: string): number =>
  store.range({ key: toBytes(`${prefix}/`), rangeEnd: toBytes(`${prefix}0`) }).kvs.length;

describe("names and values", () => {
  test.each(["", "/", "/merc/", "_succession", "/_succession/v1", "_succession/x", "\ud800"])(
    "an election cannot be called %j",
    async (name) => {
      const { session, etcd } = await started();
      expect(() => new Election(session, name)).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
      expect(() => new Observer(etcd, name)).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
    },
  );

  test.each(
    ["/merc", "merc", "//", "/a/b", "/_successions", "电", "🙂", " "].filter((each) => !each.endsWith("/")),
  )("an election can be called %j", async (name) => {
    const { session } = await started();
    const term = await new Election(session, name).campaign("v");
    expect(term.key).toBe(`${name}/${session.leaseId.toString(16)}`);
  });

  test("a value has at most 4096 bytes, as bytes count", async () => {
    const { session } = await started();
    const election = new Election(session, "/e");
    const tooLong = expect.objectContaining({ code: "BAD_OPTION", message: expect.stringContaining("4096") });
    await expect(election.campaign("é".repeat(2_049))).rejects.toEqual(tooLong);
    const term = await election.campaign("é".repeat(2_048));
    expect(term.remainingMs).toBeGreaterThan(0);
    await expect(election.proclaim(new Uint8Array(4_097))).rejects.toEqual(tooLong);
  });
});

describe("a waiter whose predecessor's key and whose own go one right after the other", () => {
  test("is not told that it leads, though both come in one message", async () => {
    const { memory, network, session, store, clock } = await started();
    const other = memory.network();
    const first = new Election(await Session.open(other.client()), "/e");
    const term = await first.campaign("first");
    const second = new Election(session, "/e");
    const campaign = second.campaign("second");
    const failed = expect(campaign).rejects.toMatchObject({ code: "CANDIDACY_LOST", endCause: "key-gone" });
    await clock.advance(0);
    network.holdEvents = true;
    store.deleteRange({ key: toBytes(term.key) });
    store.deleteRange({ key: toBytes(second.key ?? "") });
    network.heal();
    await clock.advance(0);
    await failed;
  });
});

describe("a session that is lost", () => {
  test("refuses new campaigns with its reason, and ends those under way", async () => {
    const { memory, network, session, clock } = await started();
    const election = new Election(session, "/e");
    network.silent = true;
    const campaign = election.campaign("a");
    const failed = expect(campaign).rejects.toMatchObject({ code: "SESSION_LOST", endCause: "deadline" });
    await clock.advance(10_000);
    await failed;
    await expect(election.campaign("a")).rejects.toMatchObject({ code: "SESSION_LOST" });
    network.heal();
    await clock.advance(30_000);
    expect(count(memory, "/e")).toBe(0);
    expect(memory.pending).toBe(0);
  });

  test("is noticed by a campaign before its timer fires", async () => {
    const { session, clock } = await started();
    clock.jump(60_000);
    const campaign = new Election(session, "/e").campaign("a");
    await expect(campaign).rejects.toMatchObject({ code: "SESSION_LOST", endCause: "deadline" });
  });

  test("by a campaign that finds the lease gone ends at once", async () => {
    const { session, store } = await started();
    store.leaseRevoke({ ID: session.leaseId });
    const campaign = new Election(session, "/e").campaign("a");
    await expect(campaign).rejects.toMatchObject({ code: "SESSION_LOST", endCause: "lease-gone" });
    expect(session.signal.aborted).toBe(true);
  });

  test("of a leader cut off ends the term; its key goes when etcd is back, and it can leave meanwhile", async () => {
    const { memory, network, session, clock, store } = await started();
    const election = new Election(session, "/e");
    const term = await election.campaign("a");
    store.pause();
    network.silent = true;
    await clock.advance(10_000);
    expect(term.signal.reason).toMatchObject({ endCause: "deadline" });
    const closing = session.close({ timeoutMs: 0 });
    await clock.advance(0);
    await closing;
    store.resume();
    expect(count(memory, "/e")).toBe(1);
    network.heal();
    await clock.advance(2_000);
    expect(count(memory, "/e")).toBe(0);
  });

  test("the signals abort when role and time left say so already, and before the key is deleted", async () => {
    const { memory, session, clock } = await started();
    const election = new Election(session, "/e");
    const term = await election.campaign("a");
    const seen: unknown[] = [];
    term.signal.addEventListener("abort", () => seen.push(term.remainingMs, count(memory, "/e")));
    const resigning = election.resign();
    expect(seen).toEqual([0, 1]);
    await clock.advance(0);
    await resigning;
    expect(count(memory, "/e")).toBe(0);
  });
});

describe("a campaign", () => {
  test("whose new value cannot be put leaves no candidate that nobody acts for", async () => {
    const { memory, network, session, clock, store } = await started();
    const election = new Election(session, "/e");
    // A key with another value is there already: Go's session on an existing lease.
    const key = toBytes(`/e/${session.leaseId.toString(16)}`);
    store.put({ key, value: toBytes("old"), lease: session.leaseId });
    let joined = false;
    network.silent = (method) => {
      if (method !== "Txn") return false;
      const hold = joined;
      joined = true;
      return hold;
    };
    let failure: unknown;
    const campaign = election.campaign("new").catch((error: unknown) => {
      failure = error;
    });
    // The value is repeated for 10 s, and the session, whose lease is renewed, outlives that.
    await clock.advance(10_500);
    await campaign;
    expect(failure).toBeDefined();
    expect(election.key).toBeUndefined();
    network.heal();
    await clock.advance(6_000);
    expect(count(memory, "/e")).toBe(0);
  });

  test("given up after any number of steps leaves no key, and the session can campaign again", async () => {
    for (let steps = 0; steps < 60; steps++) {
      const { memory, session, clock, etcd } = await started();
      const election = new Election(session, "/e");
      const abort = new AbortController();
      const campaign = election.campaign("a", { signal: abort.signal }).then(
        () => "elected",
        (error: Error) => error.message,
      );
      for (let at = 0; at < steps; at++) await Promise.resolve();
      abort.abort(new Error("enough"));
      const result = await campaign;
      await clock.advance(1_000);
      if (result === "elected") await election.resign();
      else expect(result).toBe("enough");
      expect(count(memory, "/e")).toBe(0);
      const term = await election.campaign("b");
      expect(term.remainingMs).toBeGreaterThan(0);
      await session.close();
      await etcd.close();
      await clock.advance(0);
      expect(memory.pending).toBe(0);
    }
  });

  test("beside another on the same session is the same candidate", async () => {
    const { memory, network, session, clock } = await started();
    network.delayMs = 20;
    const campaigns = ["1", "2", "3"].map((value) => new Election(session, "/e").campaign(value));
    const tryLock = new Mutex(session, "/e").tryLock();
    await clock.advance(1_000);
    const terms = await Promise.all([...campaigns, tryLock]);
    expect(new Set(terms).size).toBe(1);
    expect(count(memory, "/e")).toBe(1);
    const resigning = new Election(session, "/e").resign();
    await clock.advance(1_000);
    await resigning;
    expect(count(memory, "/e")).toBe(0);
    expect(session.places.size).toBe(0);
  });

  test("resigned while it puts its key leaves none, after any number of steps", async () => {
    for (let steps = 0; steps < 40; steps++) {
      const { memory, session, clock } = await started();
      const election = new Election(session, "/e");
      const campaign = election.campaign("a").catch(() => undefined);
      for (let at = 0; at < steps; at++) await Promise.resolve();
      await election.resign();
      const term = await campaign;
      await clock.advance(0);
      expect(term?.remainingMs ?? 0).toBe(0);
      expect(count(memory, "/e")).toBe(0);
    }
  });

  test("in tryLock, given up after any number of steps leaves no key", async () => {
    for (let steps = 0; steps < 60; steps++) {
      const { memory, session, clock } = await started();
      const mutex = new Mutex(session, "/m");
      const abort = new AbortController();
      const locking = mutex.tryLock({ signal: abort.signal }).then(
        () => "locked",
        (error: Error) => error.message,
      );
      for (let at = 0; at < steps; at++) await Promise.resolve();
      abort.abort(new Error("enough"));
      const result = await locking;
      await clock.advance(1_000);
      if (result === "locked") await mutex.unlock();
      expect(count(memory, "/m")).toBe(0);
    }
  });
});

describe("no leaks", () => {
  test("1,000 rounds of campaigning and resigning, in one election and in as many", async () => {
    const { memory, network, session, etcd, clock } = await started();
    const sizes = () => ({
      places: session.places.size,
      streams: network.openStreams("Watch"),
      pending: memory.pending,
      listeners: listeners(session.signal) + listeners(etcd.closedSignal),
    });
    const round = async (at: number) => {
      const same = new Election(session, "/e");
      await same.campaign(`${at}`);
      await same.resign();
      const other = new Election(session, `/e${at}`);
      const observing = other.observe();
      await observing.next();
      await other.campaign("v");
      await observing.next();
      await observing.return();
      await other.resign();
      await clock.advance(0);
    };
    await round(0);
    const before = sizes();
    for (let at = 1; at <= 1_000; at++) await round(at);
    expect(sizes()).toEqual(before);
    expect(before).toMatchObject({ places: 0, streams: 0 });
    await session.close();
    expect(memory.pending).toBe(0);
  });

  test("after session.close() and etcd.close() nothing holds the process", async () => {
    const holding = () => process.getActiveResourcesInfo().sort();
    const server = await DevServer.start();
    const before = holding();
    const etcd = new Etcd({ endpoints: [server.endpoint] });
    const session = await Session.open(etcd);
    const election = new Election(session, "/e");
    const leaders = election.observe();
    await leaders.next();
    await election.campaign("a");
    await leaders.next();
    // An iteration that is left open must not hold the process either.
    const last = leaders.next().catch((error: { code: string }) => error.code);
    await session.close();
    expect(await last).toMatchObject({ value: undefined });
    await etcd.close();
    await server.close();
    await eventually(() => expect(holding().length).toBeLessThanOrEqual(before.length));
  });
});

function listeners(signal: AbortSignal): number {
  return getEventListeners(signal, "abort").length;
}
