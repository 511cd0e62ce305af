import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Candidate, Line } from "../../src/concurrency/line.ts";
import { type Leader, Observer } from "../../src/concurrency/observer.ts";
import { toBytes } from "../../src/etcd/bytes.ts";
import { byCreation, deleteOp, putOp } from "../../src/etcd/ops.ts";
import { MemoryEtcd } from "../support/memory-transport.ts";

const shown = (leader: Leader | undefined): string =>
  leader === undefined ? "none" : `${leader.key}@${leader.token}#${leader.revision}`;

/** A process that follows `/e`, and the store. */
function follower(seed: number = 1, endpoints: number = 1) {
  const memory = new MemoryEtcd(seed);
  const network = memory.network(endpoints);
  const etcd = network.client();
  const line = Line.acquire(etcd, "/e");
  line.follow();
  return { memory, network, etcd, line, store: memory.store, clock: memory.clock };
}

const put = (memory: MemoryEtcd, name: string, value: string = name) =>
  memory.store.put({ key: toBytes(`/e/${name}`), value: toBytes(value) });
const remove = (memory: MemoryEtcd, name: string) => memory.store.deleteRange({ key: toBytes(`/e/${name}`) });

function fresh({ store }: MemoryEtcd): string[] {
  return store
    .range(byCreation("/e/"))
    .kvs.map((kv) => `${new TextDecoder().decode(kv.key)}@${kv.createRevision}#${kv.modRevision}`);
}

const view = (line: Line): string[] => line.candidates.map((each: Candidate) => shown(each));

/** What an observer has been told, as long as it lasts. */
function observed(observer: Observer): {
  readonly seen: string[];
  readonly done: Promise<void>;
  stop(): void;
} {
  const abort = new AbortController();
  const seen: string[] = [];
  const done = (async () => {
    try {
      for await (const leader of observer.observe({ signal: abort.signal })) seen.push(shown(leader));
    } catch (error) {
      if (!abort.signal.aborted) throw error;
    }
  })();
  return { seen, done, stop: () => abort.abort() };
}

describe("the view", () => {
  test("is sorted by creation, whatever the names, and shows new values in place", async () => {
    const { memory, line, clock } = follower();
    await clock.advance(0);
    put(memory, "z");
    put(memory, "a");
    put(memory, "m");
    put(memory, "z", "new");
    await clock.advance(0);
    expect(line.candidates.map(({ id }) => id)).toEqual(["new", "a", "m"]);
    expect(view(line)).toEqual(fresh(memory));
  });

  test("changes by whole revisions: of a transaction no half is ever told", async () => {
    const { memory, line, clock, store } = follower();
    put(memory, "a");
    put(memory, "b");
    await clock.advance(0);
    const told: string[][] = [];
    line.subscribe(() => told.push(line.candidates.map(({ id }) => id)));
    store.txn({ success: [deleteOp("/e/a"), deleteOp("/e/b"), putOp("/e/c", "c"), putOp("/e/d", "d")] });
    await clock.advance(0);
    expect(told).toEqual([["c", "d"]]);
  });

  test("goes on after a break where it was", async () => {
    const { memory, network, line, clock } = follower();
    put(memory, "a");
    await clock.advance(0);
    network.break();
    put(memory, "b");
    remove(memory, "a");
    await clock.advance(3_000);
    expect(view(line)).toEqual(fresh(memory));
  });

  test("is read anew when what it missed is compacted: created, then canceled", async () => {
    const { memory, network, line, clock, store } = follower();
    put(memory, "a");
    await clock.advance(0);
    network.refuse = true;
    network.break();
    for (let at = 0; at < 10; at++) put(memory, `b${at}`);
    remove(memory, "a");
    store.compact({ revision: store.revision });
    await clock.advance(5_000);
    const before = network.sent.length;
    network.heal();
    await clock.advance(5_000);
    expect(view(line)).toEqual(fresh(memory));
    // One read, one watch: no loop.
    expect(network.count("Range", before)).toBe(1);
    expect(network.openStreams("Watch")).toBe(1);
    put(memory, "c");
    await clock.advance(0);
    expect(view(line)).toEqual(fresh(memory));
  });

  test("is confirmed as often as those who rely on it need, whatever endpoint fails", async () => {
    const { memory, network, line, clock } = follower(1, 2);
    put(memory, "a");
    await clock.advance(0);
    let confirmed = 0;
    const forget = line.rely(3_000, () => confirmed++);
    let oldest = 0;
    for (let at = 0; at < 60; at++) {
      // One of the two goes silent for a while, then the other.
      const [one, other] = network.links;
      if (at === 20 && one !== undefined) one.silent = true;
      if (at === 40 && other !== undefined) {
        one?.heal();
        other.silent = true;
      }
      await clock.advance(500);
      oldest = Math.max(oldest, clock.now() - line.confirmedAt);
    }
    expect(confirmed).toBeGreaterThanOrEqual(20);
    expect(oldest).toBeLessThan(3_000);
    forget();
    network.heal();
    await clock.advance(3_000);
    const before = confirmed;
    await clock.advance(30_000);
    expect([confirmed, clock.now() - line.confirmedAt < 11_000]).toEqual([before, true]);
  });

  test("of a deaf watch is found out by reading, and another watch is opened that loses nothing", async () => {
    const { memory, network, line, clock, etcd } = follower(1, 2);
    await clock.advance(0);
    const observer = observed(new Observer(etcd, "/e"));
    await clock.advance(0);
    const deaf = network.links.find((link) => link.streams.size > 0);
    if (deaf === undefined) throw new Error("no watch stands");
    deaf.holdEvents = true;
    put(memory, "a");
    put(memory, "b");
    remove(memory, "a");
    await clock.advance(1_000);
    expect(view(line)).toEqual([]);
    await clock.advance(40_000);
    expect(view(line)).toEqual(fresh(memory));
    expect(observer.seen.map((each) => each.replace(/@.*/, ""))).toEqual(["none", "/e/a", "/e/b"]);
    observer.stop();
    await observer.done;
  });

  test("is read anew where even another watch stays deaf", async () => {
    const { memory, network, line, clock } = follower();
    await clock.advance(0);
    network.holdEvents = true;
    put(memory, "a");
    await clock.advance(60_000);
    expect(view(line)).toEqual(fresh(memory));
  });

  test("of a store that went back is read anew", async () => {
    const { memory, network, line, clock, store } = follower();
    put(memory, "a");
    const backup = store.snapshot();
    for (let at = 0; at < 5; at++) put(memory, `b${at}`);
    await clock.advance(0);
    expect(line.candidates).toHaveLength(6);
    store.restore(backup);
    await clock.advance(30_000);
    expect(view(line)).toEqual(fresh(memory));
    put(memory, "c");
    await clock.advance(0);
    expect(view(line)).toEqual(fresh(memory));
    expect(network.openStreams("Watch")).toBe(1);
  });

  test("is read as soon as etcd answers, and by one request for all who want it", async () => {
    const { memory, network, etcd, line, clock } = follower();
    network.refuse = true;
    put(memory, "a");
    const synced = Promise.all([line.sync(), line.sync(), Line.acquire(etcd, "/e").sync()]);
    await clock.advance(30_000);
    expect(line.synced).toBe(false);
    network.heal();
    await clock.advance(2_000);
    await synced;
    expect(view(line)).toEqual(fresh(memory));
    const before = network.sent.length;
    await line.sync();
    expect(network.sent.length).toBe(before);
  });

  test("ends with its last user: no watch, no timer, no read", async () => {
    const { memory, network, etcd, line, clock } = follower();
    await clock.advance(0);
    const again = Line.acquire(etcd, "/e");
    expect(again).toBe(line);
    line.release();
    await clock.advance(0);
    expect(network.openStreams("Watch")).toBe(1);
    again.release();
    expect(network.openStreams("Watch")).toBe(0);
    expect(memory.pending).toBe(0);

    const hanging = Line.acquire(etcd, "/e");
    network.silent = true;
    hanging.follow();
    await clock.advance(100);
    hanging.release();
    await clock.advance(0);
    expect(memory.pending).toBe(0);
    expect(Line.acquire(etcd, "/e")).not.toBe(hanging);
  });

  test("leaves no timer behind when the client is closed under it", async () => {
    const { memory, etcd, clock } = follower();
    await clock.advance(0);
    await etcd.close();
    await clock.advance(0);
    expect(memory.pending).toBe(0);
  });

  test("counts as confirmed from the send of its last read", async () => {
    const { network, line, clock } = follower();
    await clock.advance(0);
    expect(line.confirmedAt).toBe(0);
    network.delayMs = 100;
    await clock.advance(15_000);
    const reads = network.sent.filter(({ method }) => method === "Txn");
    expect(line.confirmedAt).toBe(reads.at(-1)?.at);
  });
});

describe("an observer", () => {
  test("is told at once that nobody leads", async () => {
    const { etcd, clock } = follower();
    const observer = observed(new Observer(etcd, "/e"));
    await clock.advance(0);
    expect(observer.seen).toEqual(["none"]);
    observer.stop();
    await observer.done;
  });

  test("who reads slowly is taken to the newest leader, and told how many he missed", async () => {
    const { memory, etcd, clock } = follower();
    const skipped: number[] = [];
    const leaders = new Observer(etcd, "/e").observe({ onSkipped: (count) => skipped.push(count) });
    const first = leaders.next();
    await clock.advance(0);
    expect((await first).value).toBeUndefined();
    for (let at = 0; at < 1_500; at++) put(memory, "a", `${at}`);
    await clock.advance(0);
    expect((await leaders.next()).value?.id).toBe("1024");
    expect(skipped).toEqual([1_024]);
    for (let at = 1_025; at < 1_500; at++) expect((await leaders.next()).value?.id).toBe(`${at}`);
    await leaders.return();
  });

  test("hears the reason of his signal, and the client's end", async () => {
    const { etcd, clock } = follower();
    const abort = new AbortController();
    const leaders = new Observer(etcd, "/e").observe({ signal: abort.signal });
    const first = leaders.next();
    await clock.advance(0);
    await first;
    const next = leaders.next();
    abort.abort(new Error("enough"));
    await expect(next).rejects.toThrow("enough");

    const others = new Observer(etcd, "/e").observe();
    const one = others.next();
    await clock.advance(0);
    await one;
    const last = others.next();
    await etcd.close();
    await expect(last).rejects.toMatchObject({ code: "CLOSED" });
  });
});

const { PROPERTY_RUNS: propertyRuns = "300" } = process.env;

type Step =
  | { readonly on: "put" | "delete"; readonly name: string }
  | { readonly on: "both"; readonly gone: string; readonly come: string }
  | { readonly on: "clear" | "compact" | "break" | "hold" | "release" | "refuse" | "heal" }
  | { readonly on: "wait"; readonly ms: number };

const name = fc.constantFrom("a", "b", "c", "d", "e");
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ on: fc.constant("put" as const), name }) },
  { weight: 6, arbitrary: fc.record({ on: fc.constant("delete" as const), name }) },
  { weight: 2, arbitrary: fc.record({ on: fc.constant("both" as const), gone: name, come: name }) },
  {
    weight: 5,
    arbitrary: fc.record({
      on: fc.constantFrom(
        "clear" as const,
        "compact" as const,
        "break" as const,
        "hold" as const,
        "release" as const,
        "refuse" as const,
        "heal" as const,
      ),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ on: fc.constant("wait" as const), ms: fc.constantFrom(0, 1, 50, 700, 4_000) }),
  },
);

test("property: the view equals a fresh read; observers see every leader in order, and never a wrong one", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 1, max: 1e6 }),
      async (steps, seed) => {
        const { memory, network, etcd, line, store, clock } = follower(seed, 2);
        await clock.advance(0);
        const observer = observed(new Observer(etcd, "/e"));
        await clock.advance(0);
        const leaders = ["none"];
        let mayMiss = false;
        for (const each of steps) {
          if (each.on === "put") put(memory, each.name);
          else if (each.on === "delete") remove(memory, each.name);
          else if (each.on === "both" && each.gone !== each.come)
            store.txn({ success: [deleteOp(`/e/${each.gone}`), putOp(`/e/${each.come}`, "v")] });
          else if (each.on === "clear") store.deleteRange({ key: toBytes("/e/"), rangeEnd: toBytes("/e0") });
          else if (each.on === "compact" && isCompactable(store)) {
            // What no watch has delivered yet may be lost to it.
            mayMiss ||= line.revision < store.revision || network.openStreams("Watch") === 0;
            store.compact({ revision: store.revision });
          } else if (each.on === "break") network.break();
          else if (each.on === "hold") network.holdEvents = true;
          else if (each.on === "refuse") network.refuse = true;
          else if (each.on === "heal" || each.on === "release") network.heal();
          else if (each.on === "wait") await clock.advance(each.ms);
          const now = fresh(memory)[0] ?? "none";
          if (now !== leaders.at(-1)) leaders.push(now);
          // A view held back for long is read anew, which may skip leaders.
          mayMiss ||= each.on === "hold";
        }
        network.heal();
        await clock.advance(40_000);
        expect(view(line)).toEqual(fresh(memory));
        if (mayMiss) expect(isSubsequence(observer.seen, leaders)).toBe(true);
        else expect(observer.seen).toEqual(leaders);
        expect(observer.seen.at(-1)).toBe(leaders.at(-1));
        observer.stop();
        await observer.done;
        line.release();
        await etcd.close();
        expect(memory.pending).toBe(0);
      },
    ),
    { numRuns: Number(propertyRuns) },
  );
});

const compacted = new WeakMap<object, bigint>();

function isCompactable(store: MemoryEtcd["store"]): boolean {
  const revision = store.revision;
  if (revision <= (compacted.get(store) ?? 1n)) return false;
  compacted.set(store, revision);
  return true;
}

function isSubsequence(part: readonly string[], whole: readonly string[]): boolean {
  let at = 0;
  for (const each of part) {
    while (at < whole.length && whole[at] !== each) at++;
    if (at++ >= whole.length) return false;
  }
  return true;
}
