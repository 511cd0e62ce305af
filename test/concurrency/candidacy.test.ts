import { describe, expect, test } from "vitest";
import { Candidacy } from "../../src/concurrency/candidacy.ts";
import { Election } from "../../src/concurrency/election.ts";
import { Session } from "../../src/concurrency/session.ts";
import { toBytes } from "../../src/etcd/bytes.ts";
import type { Etcd } from "../../src/etcd/etcd.ts";
import { MemoryEtcd, type MemoryNetwork } from "../support/memory-transport.ts";

const ttlSeconds = 10;
const ttlMs = 10_000;
const deadlineMs = ttlMs - 250;

interface Node {
  readonly network: MemoryNetwork;
  readonly etcd: Etcd;
  readonly session: Session;
  readonly election: Election;
}

/** A process of its own: its network and its client. */
async function node(memory: MemoryEtcd, endpoints: number = 1): Promise<Node> {
  const network = memory.network(endpoints);
  const etcd = network.client();
  const session = await Session.open(etcd, { ttlSeconds });
  return { network, etcd, session, election: new Election(session, "/e") };
}

async function join({ session }: Node, options: { stopTimeoutMs?: number } = {}) {
  const candidacy = await Candidacy.join(session, "/e", toBytes("v"), options);
  candidacy.start();
  return candidacy;
}

function keysOf({ store }: MemoryEtcd, prefix: string = "/e/"): string[] {
  const { kvs } = store.range({ key: toBytes(prefix), rangeEnd: toBytes(`${prefix.slice(0, -1)}0`) });
  return kvs.map((kv) => new TextDecoder().decode(kv.key));
}

describe("the two proofs", () => {
  test("a live lease with a deaf watch: the deleted key ends the term by the next read", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const term = await a.election.campaign("a");
    await memory.clock.advance(1_000);
    a.network.holdEvents = true;
    memory.store.deleteRange({ key: toBytes(term.key) });
    await memory.clock.advance(0);
    expect(term.signal.aborted).toBe(false);
    await memory.clock.advance(ttlMs / 2);
    expect(term.signal.reason).toMatchObject({ code: "TERM_ENDED", endCause: "key-gone" });
    expect(a.session.signal.aborted).toBe(false);
  });

  test("a leader whose reads fail while keepalives pass ends at the deadline of its last read", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const term = await a.election.campaign("a");
    await memory.clock.advance(20_000);
    a.network.silent = (method) => method === "Txn" || method === "Range";
    const last = a.network.sent.filter((each) => each.method === "Txn").at(-1)?.at as number;
    const left = last + deadlineMs - memory.clock.now();
    expect(term.remainingMs).toBeLessThanOrEqual(left);
    await memory.clock.advance(left - 1);
    expect(term.signal.aborted).toBe(false);
    await memory.clock.advance(1);
    expect(term.signal.reason).toMatchObject({ endCause: "deadline" });
    expect(a.session.signal.aborted).toBe(false);
    // Its key goes as soon as etcd answers again: until then nobody else can lead.
    expect(keysOf(memory)).toHaveLength(1);
    a.network.heal();
    await memory.clock.advance(5_000);
    expect(keysOf(memory)).toEqual([]);
  });

  test("a leader whose keepalives fail while reads pass ends at the deadline of its lease", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const term = await a.election.campaign("a");
    a.network.silent = (method) => method === "LeaseKeepAlive";
    await memory.clock.advance(deadlineMs);
    expect(term.signal.reason).toMatchObject({ endCause: "deadline" });
    expect(a.session.signal.reason).toMatchObject({ endCause: "deadline" });
  });

  test("a leader whose keepalives fail and whose work needs time to stop ends so long before that deadline", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const { term } = await join(a, { stopTimeoutMs: 4_000 });
    a.network.silent = (method) => method === "LeaseKeepAlive";
    await memory.clock.advance(deadlineMs - 4_001);
    expect(term?.remainingMs).toBe(1);
    await memory.clock.advance(1);
    expect(term?.signal.reason).toMatchObject({ endCause: "deadline" });
    expect(a.session.remainingMs).toBe(4_000);
  });

  test("reads several elections of one process in one transaction", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const names = Array.from({ length: 20 }, (_, at) => `/e${at}`);
    const terms = await Promise.all(names.map((name) => new Election(a.session, name).campaign("a")));
    await memory.clock.advance(0);
    const before = a.network.sent.length;
    await memory.clock.advance(60_000);
    expect(a.network.count("Range", before)).toBe(0);
    // One in at least 0.9 × TTL/3, for all.
    expect(a.network.count("Txn", before)).toBeLessThanOrEqual(60_000 / 2_250);
    expect(a.network.count("Txn", before)).toBeGreaterThan(10);
    expect(terms.map((term) => term.signal.aborted)).not.toContain(true);
  });

  test("hold for 150 elections of one process, more than one transaction takes", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const names = Array.from({ length: 150 }, (_, at) => `/e${at}`);
    const terms = await Promise.all(names.map((name) => new Election(a.session, name).campaign("a")));
    await memory.clock.advance(30_000);
    expect(terms.filter((term) => term.remainingMs > 0)).toHaveLength(150);
  });

  test("hold for 130 candidates of one process in one election", async () => {
    const memory = new MemoryEtcd();
    const { etcd } = await node(memory);
    const candidacies: Candidacy[] = [];
    for (let at = 0; at < 130; at++) {
      const session = await Session.open(etcd, { ttlSeconds });
      candidacies.push(await join({ session } as Node));
    }
    await memory.clock.advance(30_000);
    expect(candidacies.filter((each) => each.endCause !== undefined)).toEqual([]);
    expect((candidacies[0]?.term?.remainingMs ?? 0) > 0).toBe(true);
  });

  test("an election that may not be read does not take the others' proof from them", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const term = await a.election.campaign("a");
    // A line of 200 candidates is refused by no etcd; a name that is too long for a request is.
    const observing = new Election(a.session, `/${"x".repeat(900_000)}`).observe();
    void observing.next();
    await memory.clock.advance(60_000);
    expect(term.signal.aborted).toBe(false);
    await observing.return();
  });

  test("a term is not begun while a proof is stale, and is once it has been renewed", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const b = await node(memory);
    const term = await a.election.campaign("a");
    const waiting = await join(b);
    await memory.clock.advance(0);
    // b reads nothing for as long as a proof lasts, but hears events and renews its lease.
    b.network.silent = (method) => method === "Txn" || method === "Range";
    await memory.clock.advance(deadlineMs + ttlMs / 3);
    expect(b.session.signal.aborted).toBe(false);
    memory.store.deleteRange({ key: toBytes(term.key) });
    await memory.clock.advance(0);
    expect(waiting.term).toBeUndefined();
    expect(waiting.endCause).toBeUndefined();
    b.network.heal();
    await memory.clock.advance(2_000);
    expect(waiting.term?.remainingMs).toBeGreaterThan(0);
  });

  test("a suspended leader is no leader at its first instruction, and events read first do not change that", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const term = await a.election.campaign("a");
    a.network.dropAnswers = true;
    await memory.clock.advance(ttlMs / 3 + 400);
    memory.clock.jump(60_000);
    expect(term.remainingMs).toBe(0);
    a.network.heal();
    await Promise.resolve();
    expect(term.remainingMs).toBe(0);
    await memory.clock.advance(0);
    expect(term.signal.reason).toMatchObject({ endCause: "deadline" });
  });

  test.each([
    ["a renewal", ["LeaseKeepAlive"]],
    ["a read", ["Txn"]],
    ["both", ["LeaseKeepAlive", "Txn"]],
  ])(
    "work that needs time to stop: the term ends so long before, and %s answered late does not revive it",
    async (_, late) => {
      const memory = new MemoryEtcd();
      const a = await node(memory);
      const stopTimeoutMs = 4_000;
      const candidacy = await join(a, { stopTimeoutMs });
      const { term } = candidacy;
      a.network.dropAnswers = (method) => late.includes(method);
      await memory.clock.advance(ttlMs / 3 + 400);
      const left = term?.remainingMs ?? 0;
      expect(left).toBe(deadlineMs - stopTimeoutMs - memory.clock.now());
      // The process is stopped until the work should stop, but the lease still lives; then the answers are read first.
      memory.clock.jump(left);
      expect(term?.remainingMs).toBe(0);
      expect(a.session.remainingMs).toBeGreaterThanOrEqual(stopTimeoutMs);
      a.network.heal();
      for (let at = 0; at < 50; at++) {
        await Promise.resolve();
        expect(term?.remainingMs).toBe(0);
      }
      await memory.clock.advance(0);
      expect(candidacy.endCause).toBe("deadline");
    },
  );
});

describe("succession", () => {
  test("a successor leads at the event, without another request", async () => {
    const memory = new MemoryEtcd();
    const [a, b, c] = [await node(memory), await node(memory), await node(memory)];
    const term = await a.election.campaign("a");
    const second = await join(b);
    const third = await join(c);
    await memory.clock.advance(20_000);
    const before = [b.network.sent.length, c.network.sent.length];
    memory.store.deleteRange({ key: toBytes(term.key) });
    for (let at = 0; at < 20; at++) await Promise.resolve();
    expect(second.term?.remainingMs).toBeGreaterThan(0);
    expect(third.position).toBe(1);
    expect([b.network.sent.length, c.network.sent.length]).toEqual(before);
  });

  test("nobody but the oldest leads, whoever leaves", async () => {
    const memory = new MemoryEtcd();
    const nodes = [];
    for (let at = 0; at < 6; at++) nodes.push(await node(memory));
    const line = [];
    for (const each of nodes) line.push(await join(each));
    for (const leaver of [3, 1, 5, 0, 2]) {
      const leaving = line[leaver] as Candidacy;
      await leaving.release();
      await memory.clock.advance(0);
      const standing = line.filter((each) => each.endCause === undefined);
      expect(standing.map((each) => each.position)).toEqual(standing.map((_, at) => at));
      expect(standing.map((each) => each.term !== undefined)).toEqual(standing.map((_, at) => at === 0));
    }
  });

  test("in one process, too, the leader has lost before the successor is told", async () => {
    const memory = new MemoryEtcd();
    const { etcd } = await node(memory);
    const open = () => Session.open(etcd, { ttlSeconds });
    // The successor's candidacy is registered before the leader's: the key is older than the leader's object.
    const first = await open();
    const old = await Candidacy.join(first, "/e", toBytes("1"));
    const second = await Candidacy.join(await open(), "/e", toBytes("2"));
    second.start();
    // Registered last, first in line: Go's session on an existing lease.
    const heir = await Session.open(etcd, { leaseId: first.leaseId });
    const again = await Candidacy.join(heir, "/e", toBytes("1"));
    again.start();
    old.end("resigned");
    const order: string[] = [];
    second.onElected = () => order.push(`second leads, first has ${again.term?.remainingMs}`);
    again.onEnded = (cause) => order.push(`first ends: ${cause}`);
    expect(again.term?.token).toBe(old.token);
    memory.store.deleteRange({ key: toBytes(again.key) });
    await memory.clock.advance(0);
    expect(order).toEqual(["first ends: key-gone", "second leads, first has 0"]);
  });

  test("del --prefix: a waiter is told that its key is gone, and never that it leads", async () => {
    const memory = new MemoryEtcd();
    const [a, b] = [await node(memory), await node(memory)];
    const term = await a.election.campaign("a");
    const waiting = await join(b);
    const told: string[] = [];
    waiting.onElected = () => told.push("elected");
    waiting.onEnded = (cause) => told.push(cause);
    memory.store.deleteRange({ key: toBytes("/e/"), rangeEnd: toBytes("/e0") });
    await memory.clock.advance(0);
    expect(told).toEqual(["key-gone"]);
    expect(term.signal.reason).toMatchObject({ endCause: "key-gone" });
  });

  test("a waiter whose lease is revoked ends, and never leads", async () => {
    const memory = new MemoryEtcd();
    const [a, b] = [await node(memory), await node(memory)];
    await a.election.campaign("a");
    const waiting = b.election.campaign("b");
    const lost = expect(waiting).rejects.toMatchObject({ code: "CANDIDACY_LOST", endCause: "key-gone" });
    await memory.clock.advance(0);
    memory.store.leaseRevoke({ ID: b.session.leaseId });
    await memory.clock.advance(0);
    await lost;
    await a.election.resign();
    await memory.clock.advance(0);
    expect(keysOf(memory)).toEqual([]);
  });

  test("a leader that is cut off has ended before the next one leads", async () => {
    const memory = new MemoryEtcd();
    const [a, b] = [await node(memory), await node(memory)];
    const term = await a.election.campaign("a");
    const waiting = await join(b);
    let leftWhenElected: number | undefined;
    waiting.onElected = () => {
      leftWhenElected = term.remainingMs;
    };
    await memory.clock.advance(5_000);
    a.network.silent = true;
    await memory.clock.advance(2 * ttlMs);
    expect(waiting.term?.remainingMs).toBeGreaterThan(0);
    expect(leftWhenElected).toBe(0);
    expect(term.signal.reason).toMatchObject({ endCause: "deadline" });
  });

  test("a candidate whose own event is late is not told that its key is gone", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const leaders = a.election.observe();
    await leaders.next();
    a.network.holdEvents = true;
    const candidacy = await join(a);
    await memory.clock.advance(1_000);
    expect(candidacy.endCause).toBeUndefined();
    expect(candidacy.term).toBeUndefined();
    a.network.heal();
    await memory.clock.advance(0);
    expect(candidacy.term?.remainingMs).toBeGreaterThan(0);
    await leaders.return();
  });

  test("callbacks are not missed by what happens between joining and start", async () => {
    const memory = new MemoryEtcd();
    const [a, b] = [await node(memory), await node(memory)];
    const term = await a.election.campaign("a");
    const candidacy = await Candidacy.join(b.session, "/e", toBytes("b"));
    memory.store.deleteRange({ key: toBytes(term.key) });
    await memory.clock.advance(0);
    const told: string[] = [];
    candidacy.onElected = () => told.push("elected");
    candidacy.onEnded = (cause) => told.push(cause);
    candidacy.start();
    expect(told).toEqual(["elected"]);

    const other = await node(memory);
    const lost = await Candidacy.join(other.session, "/e", toBytes("c"));
    other.session.end("lease-gone");
    lost.onEnded = (cause) => told.push(cause);
    lost.start();
    expect(told).toEqual(["elected", "lease-gone"]);
  });

  test("an overwritten key without the lease ends the term, and is deleted", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const term = await a.election.campaign("a");
    memory.store.put({ key: toBytes(term.key), value: toBytes("intruder") });
    await memory.clock.advance(0);
    expect(term.signal.reason).toMatchObject({ endCause: "key-gone" });
    await memory.clock.advance(1_000);
    expect(keysOf(memory)).toEqual([]);
  });
});

describe("requests carried out late", () => {
  test("a join that timed out at a stalled endpoint and is carried out after the resignation leaves no candidate", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory, 2);
    const stalled = a.network.links.find((link) => link.connected);
    if (stalled === undefined) throw new Error("no link is in use");
    stalled.silent = (method) => method === "Txn";
    stalled.lateRequests = true;
    const campaign = a.election.campaign("a");
    await memory.clock.advance(5_000);
    const term = await campaign;
    expect(term.remainingMs).toBeGreaterThan(0);
    await a.election.resign();
    await memory.clock.advance(1_000);
    expect(keysOf(memory)).toEqual([]);
    // Seconds later the stalled member goes on.
    stalled.heal();
    const [late] = keysOf(memory);
    expect(late).toBe(term.key);
    await memory.clock.advance(1_000);
    expect(keysOf(memory)).toEqual([]);
    expect(a.session.signal.aborted).toBe(false);
    // The session can stand again, with a new token.
    const again = await a.election.campaign("a");
    expect(again.token).toBeGreaterThan(term.token);
  });

  test("a campaign given up while its join hangs leaves no key, whenever that is carried out", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    const reason = new Error("enough");
    const abort = new AbortController();
    a.network.silent = (method) => method === "Txn";
    a.network.lateRequests = true;
    const campaign = a.election.campaign("a", { signal: abort.signal });
    const failed = expect(campaign).rejects.toBe(reason);
    await memory.clock.advance(100);
    abort.abort(reason);
    await failed;
    await memory.clock.advance(3_000);
    a.network.heal();
    expect(keysOf(memory)).toHaveLength(1);
    await memory.clock.advance(1_000);
    expect(keysOf(memory)).toEqual([]);
  });

  test("a key put late by a join that failed is taken over by the next campaign, or deleted before it", async () => {
    for (let steps = 0; steps < 60; steps++) {
      const memory = new MemoryEtcd(steps + 1);
      const a = await node(memory);
      a.network.silent = (method) => method === "Txn";
      a.network.lateRequests = true;
      const abort = new AbortController();
      const first = a.election.campaign("first", { signal: abort.signal });
      const failed = expect(first).rejects.toThrow("enough");
      await memory.clock.advance(100);
      abort.abort(new Error("enough"));
      await failed;
      a.network.heal();
      for (let at = 0; at < steps; at++) await Promise.resolve();
      const campaign = a.election.campaign("second");
      await memory.clock.advance(10_000);
      const term = await campaign;
      expect(keysOf(memory)).toEqual([term.key]);
      expect((await a.election.leader())?.id).toBe("second");
      expect(term.remainingMs).toBeGreaterThan(0);
      await memory.clock.advance(60_000);
      expect(term.signal.aborted).toBe(false);
    }
  });

  test("the line is followed for stray keys only after a lost answer, and no longer than the session lives", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    await a.election.campaign("a");
    await a.election.resign();
    await memory.clock.advance(0);
    expect(a.network.openStreams("Watch")).toBe(0);
    a.network.dropAnswers = (method) => method === "Txn";
    const campaign = a.election.campaign("a");
    await memory.clock.advance(1_500);
    a.network.dropAnswers = false;
    await memory.clock.advance(5_000);
    await campaign;
    await a.election.resign();
    expect(a.network.openStreams("Watch")).toBe(1);
    await a.session.close();
    expect(a.network.openStreams("Watch")).toBe(0);
    expect(memory.pending).toBe(0);
  });

  test("limits of a resignation and of a campaign hold while a key is being given up in the background", async () => {
    const memory = new MemoryEtcd();
    const a = await node(memory);
    await a.election.campaign("a");
    a.network.silent = (method) => method === "Txn";
    const failed = expect(a.election.resign({ timeoutMs: 1_000 })).rejects.toMatchObject({
      code: "ETCD_UNAVAILABLE",
    });
    await memory.clock.advance(1_000);
    await failed;
    const stop = new AbortController();
    const settled: string[] = [];
    a.election.resign({ timeoutMs: 500 }).catch(() => settled.push("resign"));
    a.election.campaign("b", { signal: stop.signal }).catch(() => settled.push("campaign"));
    await memory.clock.advance(500);
    expect(settled).toEqual(["resign"]);
    stop.abort(new Error("enough"));
    await memory.clock.advance(0);
    expect(settled).toEqual(["resign", "campaign"]);
    a.network.heal();
    await memory.clock.advance(10_000);
    expect([keysOf(memory), a.session.signal.aborted]).toEqual([[], false]);
    await a.session.close();
  });
});
