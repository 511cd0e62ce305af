import { describe, expect, test } from "vitest";
import { Candidacy } from "../../src/concurrency/candidacy.ts";
import { Election } from "../../src/concurrency/election.ts";
import { type Leader, Observer } from "../../src/concurrency/observer.ts";
import { Session } from "../../src/concurrency/session.ts";
import type { Term } from "../../src/concurrency/term.ts";
import { toBytes, toText } from "../../src/etcd/bytes.ts";
import type { Etcd } from "../../src/etcd/etcd.ts";
import { putOp } from "../../src/etcd/ops.ts";
import { eventually } from "../support/eventually.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { onEveryStore } from "./stores.ts";

const idOf = (leader: Leader | undefined): string => leader?.id ?? "none";

/** Resolves when the term's signal aborts, with the cause. */
function endOf(term: Term): Promise<string> {
  return new Promise((resolve) => {
    const tell = (): void => resolve(term.signal.reason.endCause);
    if (term.signal.aborted) tell();
    else term.signal.addEventListener("abort", tell, { once: true });
  });
}

onEveryStore("an election", (store) => {
  const election = async (name: string, etcd: Etcd = store.client()): Promise<Election> =>
    new Election(await Session.open(etcd), name);

  const keys = async (name: string): Promise<string[]> =>
    (await store.client().range(`${name}/`, { prefix: true })).kvs.map((kv) => toText(kv.key));

  /** Waits until so many stand in line; they do by `campaign`, which resolves later. */
  const standing = (name: string, count: number) =>
    eventually(async () => expect(await keys(name)).toHaveLength(count));

  test("has no leader, then one, with its key, value and token, then none", async () => {
    const name = store.key("e");
    const one = await election(name);
    expect(await one.leader()).toBeUndefined();
    expect(one.key).toBeUndefined();
    const term = await one.campaign("a:10.0.0.1:8080");
    const leader = await one.leader();
    expect(leader).toMatchObject({ id: "a:10.0.0.1:8080", key: term.key, token: term.token });
    expect(leader?.value).toEqual(toBytes("a:10.0.0.1:8080"));
    expect(one.key).toBe(term.key);
    expect(one.token).toBe(term.token);
    await one.resign();
    expect(await one.leader()).toBeUndefined();
    expect(await endOf(term)).toBe("resigned");
    expect(term.remainingMs).toBe(0);
  });

  test("names keys by the lease, bound to it", async () => {
    const name = store.key("e");
    const session = await Session.open(store.client());
    const { key } = await new Election(session, name).campaign("v");
    expect(key).toBe(`${name}/${session.leaseId.toString(16)}`);
    const { kvs } = await store.client().range(key);
    expect(kvs[0]?.lease).toBe(session.leaseId);
    await session.close();
    expect(await keys(name)).toEqual([]);
  });

  test("keeps values as bytes", async () => {
    const name = store.key("e");
    const one = await election(name);
    const value = Uint8Array.of(0, 255, 254, 128, 10);
    await one.campaign(value);
    expect((await one.leader())?.value).toEqual(value);
  });

  test("passes on in the order of creation", async () => {
    const name = store.key("e");
    const elections = await Promise.all(["a", "b", "c", "d"].map(() => election(name)));
    const order: string[] = [];
    const campaigns = [];
    for (const [at, each] of elections.entries()) {
      const campaign = each.campaign(`${at}`).then((term) => {
        order.push(`${at}`);
        return term;
      });
      campaigns.push(campaign);
      await standing(name, at + 1);
    }
    const tokens: bigint[] = [];
    for (const [at, each] of elections.entries()) {
      tokens.push((await (campaigns[at] as Promise<Term>)).token);
      expect(order).toHaveLength(at + 1);
      expect(idOf(await each.leader())).toBe(`${at}`);
      await each.resign();
    }
    expect(order).toEqual(["0", "1", "2", "3"]);
    expect(tokens).toEqual([...tokens].sort((a, b) => (a < b ? -1 : 1)));
  });

  test("a candidate's session that closes, or whose lease is revoked, makes room for the next", async () => {
    const name = store.key("e");
    const [one, two, three] = [await election(name), await election(name), await election(name)];
    const first = await one.campaign("1");
    const second = two.campaign("2");
    await standing(name, 2);
    const third = three.campaign("3");
    await standing(name, 3);
    await store.client().leaseRevoke(BigInt(`0x${first.key.slice(name.length + 1)}`));
    const term = await second;
    expect(await endOf(first)).toBe("key-gone");
    expect(term.token).toBeGreaterThan(first.token);
    await two.resign();
    expect((await third).token).toBeGreaterThan(term.token);
  });

  test("a second campaign keeps the place and puts the new value", async () => {
    const name = store.key("e");
    const one = await election(name);
    const first = await one.campaign("old");
    const again = await one.campaign("new");
    expect(again).toBe(first);
    expect(await one.leader()).toMatchObject({ id: "new", token: first.token });
    // Also while waiting, and from another object on the same session.
    const session = await Session.open(store.client());
    const waiting = new Election(session, name).campaign("w1");
    await standing(name, 2);
    const twin = new Election(session, name).campaign("w2");
    await eventually(async () => expect((await one.candidates()).map(({ id }) => id)).toEqual(["new", "w2"]));
    await one.resign();
    expect(await twin).toBe(await waiting);
  });

  test("two campaigns at once on one session are one candidate", async () => {
    const name = store.key("e");
    const session = await Session.open(store.client());
    const [one, two] = await Promise.all([
      new Election(session, name).campaign("1"),
      new Election(session, name).campaign("2"),
    ]);
    expect(one).toBe(two);
    expect(await keys(name)).toEqual([one.key]);
  });

  test("a campaign after resigning gets a new token", async () => {
    const name = store.key("e");
    const one = await election(name);
    let token = 0n;
    for (let round = 0; round < 5; round++) {
      const term = await one.campaign("v");
      expect(term.token).toBeGreaterThan(token);
      token = term.token;
      await one.resign();
    }
  });

  test("proclaims a new value on the same key and lease, and only while it leads", async () => {
    const name = store.key("e");
    const [one, two] = [await election(name), await election(name)];
    await expect(one.proclaim("x")).rejects.toMatchObject({ code: "NOT_LEADER" });
    const term = await one.campaign("1");
    await one.proclaim("1b");
    expect(await two.leader()).toMatchObject({ id: "1b", token: term.token });
    const waiting = two.campaign("2");
    await standing(name, 2);
    await expect(two.proclaim("2b")).rejects.toMatchObject({ code: "NOT_LEADER" });
    await one.resign();
    await waiting;
    await expect(one.proclaim("1c")).rejects.toMatchObject({ code: "NOT_LEADER" });
    await two.proclaim("2b");
    expect(idOf(await one.leader())).toBe("2b");
  });

  test("a proclamation on a key that is gone ends the term", async () => {
    const name = store.key("e");
    const one = await election(name);
    const term = await one.campaign("1");
    await store.client().delete(term.key);
    await expect(one.proclaim("2")).rejects.toMatchObject({ code: "NOT_LEADER" });
    expect(await endOf(term)).toBe("key-gone");
    expect(await keys(name)).toEqual([]);
  });

  test.each(["alone", "with the whole prefix"])(
    "a waiter whose key is deleted, %s, is never told that it leads",
    async (how) => {
      for (let round = 0; round < 10; round++) {
        const name = store.key("e");
        const [one, two] = [await election(name), await election(name)];
        const term = await one.campaign("1");
        const waiting = two.campaign("2");
        const lost = expect(waiting).rejects.toMatchObject({ code: "CANDIDACY_LOST", endCause: "key-gone" });
        await standing(name, 2);
        if (how === "alone") {
          await store.client().delete((await one.candidates())[1]?.key ?? "");
          await lost;
          await one.resign();
        } else {
          await store.client().delete(`${name}/`, { prefix: true });
          await lost;
          expect(await endOf(term)).toBe("key-gone");
        }
        expect(await one.leader()).toBeUndefined();
      }
    },
  );

  test("a waiter whose lease is revoked hears of it and never leads", async () => {
    const name = store.key("e");
    const [one, session] = [await election(name), await Session.open(store.client())];
    await one.campaign("1");
    const waiting = new Election(session, name).campaign("2");
    const lost = expect(waiting).rejects.toMatchObject({ code: "CANDIDACY_LOST" });
    await standing(name, 2);
    await store.client().leaseRevoke(session.leaseId);
    await lost;
    await one.resign();
    expect(await one.leader()).toBeUndefined();
  });

  test("the leader's key put anew without its lease ends the term", async () => {
    const name = store.key("e");
    const one = await election(name);
    const term = await one.campaign("1");
    await store.client().put(term.key, "intruder");
    expect(await endOf(term)).toBe("key-gone");
    // It would stand for ever, and nobody would lead.
    await eventually(async () => expect(await keys(name)).toEqual([]));
  });

  test("a campaign that is given up leaves no key, and rejects with the signal's reason", async () => {
    const name = store.key("e");
    const [one, two, three] = [await election(name), await election(name), await election(name)];
    await one.campaign("1");
    const abort = new AbortController();
    const waiting = two.campaign("2", { signal: abort.signal });
    await standing(name, 2);
    const third = three.campaign("3");
    await standing(name, 3);
    abort.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await standing(name, 2);
    await one.resign();
    await third;
    await expect(two.campaign("2", { signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow(
      "before",
    );
  });

  test("a resignation that failed can be repeated, and deletes", async () => {
    const name = store.key("e");
    const proxy = await TcpProxy.start({ target: store.endpoint });
    const etcd = store.client({ endpoints: [proxy.endpoint] });
    const one = await election(name, etcd);
    const term = await one.campaign("1");
    await proxy.blackHole();
    await expect(one.resign({ timeoutMs: 300 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
    expect(await endOf(term)).toBe("resigned");
    expect(await keys(name)).toHaveLength(1);
    proxy.resetAll();
    await proxy.heal();
    await one.resign();
    expect(await keys(name)).toEqual([]);
    // It was given up once: the next candidacy is another one.
    expect((await one.campaign("2")).token).toBeGreaterThan(term.token);
    await etcd.close();
    await proxy.close();
  });

  test("a resignation that failed is repeated by itself", async () => {
    const name = store.key("e");
    const one = await election(name);
    await one.campaign("1");
    const aborted = one.resign({ signal: AbortSignal.abort(new Error("impatient")) });
    await expect(aborted).rejects.toThrow("impatient");
    await eventually(async () => expect(await keys(name)).toEqual([]));
  });

  test("is not disturbed by a key that has its name as a prefix", async () => {
    const name = store.key("e");
    await store.client().put(`${name}a`, "foreign");
    await store.client().put(name, "foreign");
    const one = await election(name);
    await one.campaign("1");
    expect(idOf(await one.leader())).toBe("1");
  });

  test("a session on an existing lease goes on where the old process was", async () => {
    const name = store.key("e");
    const old = await Session.open(store.client());
    const before = await new Election(old, name).campaign("old");
    const other = await election(name);
    const waiting = other.campaign("other");
    await standing(name, 2);
    old.orphan();
    expect(await endOf(before)).toBe("closed");
    const session = await Session.open(store.client(), { leaseId: old.leaseId });
    const heir = new Election(session, name);
    const term = await heir.campaign("heir");
    expect(term.token).toBe(before.token);
    await heir.proclaim("heir 2");
    expect(idOf(await other.leader())).toBe("heir 2");
    await session.close();
    await waiting;
  });

  test("joining is one request, which also reads the line", async () => {
    const name = store.key("e");
    const one = await election(name);
    await one.campaign("1");
    const session = await Session.open(store.client());
    const candidacy = await Candidacy.join(session, name, toBytes("2"));
    expect(candidacy.position).toBe(1);
    expect(candidacy.line.candidates.map(({ id }) => id)).toEqual(["1", "2"]);
    candidacy.start();
    await candidacy.release();
    expect(await keys(name)).toHaveLength(1);
  });

  test("a guard makes a transaction take effect only while the term's key exists", async () => {
    const name = store.key("e");
    const one = await election(name);
    const etcd = store.client();
    const term = await one.campaign("1");
    const write = { compare: [term.guard()], success: [putOp(`${name}#`, "w")] };
    expect((await etcd.txn(write)).succeeded).toBe(true);
    await one.resign();
    expect((await etcd.txn(write)).succeeded).toBe(false);
  });

  describe("observed", () => {
    test("yields undefined at once when nobody leads", async () => {
      const leaders = new Observer(store.client(), store.key("e")).observe();
      expect(await leaders.next()).toEqual({ value: undefined, done: false });
      await leaders.return();
    });

    test("yields every one of 21 leaders that follow each other without a pause", async () => {
      const name = store.key("e");
      const leaders = new Observer(store.client(), name).observe();
      expect((await leaders.next()).value).toBeUndefined();
      const etcd = store.client();
      for (let at = 0; at < 21; at++) {
        await etcd.put(`${name}/${at}`, `${at}`);
        if (at > 0) await etcd.delete(`${name}/${at - 1}`);
      }
      const seen: string[] = [];
      while (seen.at(-1) !== "20") seen.push(idOf((await leaders.next()).value as Leader));
      expect(seen).toEqual(Array.from({ length: 21 }, (_, at) => `${at}`));
      await leaders.return();
    });

    test("yields the same to all, and the gaps between leaders", async () => {
      const name = store.key("e");
      const observers = [1, 2, 3].map(() => new Observer(store.client(), name).observe());
      expect(await Promise.all(observers.map(async (each) => (await each.next()).value))).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
      const one = await election(name);
      for (const id of ["a", "b", "c"]) {
        await one.campaign(id);
        await one.resign();
      }
      const expected = ["a", "none", "b", "none", "c", "none"];
      for (const each of observers) {
        const seen: string[] = [];
        while (seen.length < expected.length) seen.push(idOf((await each.next()).value as Leader));
        expect(seen).toEqual(expected);
        await each.return();
      }
    });

    test("shows the present leader though its revision is compacted", async () => {
      const name = store.key("e");
      const one = await election(name);
      await one.campaign("1");
      const etcd = store.client();
      for (let at = 0; at < 5; at++) await etcd.put(store.key("other"), "x");
      const { header } = await etcd.range("x");
      await etcd.compact(header?.revision ?? 0n, { physical: true });
      const leaders = new Observer(store.client(), name).observe();
      expect(idOf((await leaders.next()).value as Leader)).toBe("1");
      await one.resign();
      expect((await leaders.next()).value).toBeUndefined();
      await leaders.return();
    });

    test("is never wrong across breaks and compaction, and ends at the present leader", async () => {
      const name = store.key("e");
      const proxy = await TcpProxy.start({ target: store.endpoint });
      const watching = store.client({ endpoints: [proxy.endpoint], attemptTimeoutMs: 500 });
      const leaders = new Observer(watching, name).observe();
      expect((await leaders.next()).value).toBeUndefined();
      const etcd = store.client();
      const actual: string[] = [];
      for (let at = 0; at < 40; at++) {
        const { header } = await etcd.put(`${name}/${at}`, `${at}`);
        actual.push(`${at}`);
        if (at > 0) await etcd.delete(`${name}/${at - 1}`);
        if (at % 8 === 3) proxy.resetAll();
        if (at % 16 === 10) {
          await proxy.refuse();
          proxy.resetAll();
        }
        if (at % 16 === 14) {
          await etcd.compact((header?.revision ?? 1n) - 1n);
          await proxy.heal();
        }
      }
      const seen: string[] = [];
      while (seen.at(-1) !== "39") seen.push(idOf((await leaders.next()).value as Leader));
      const places = seen.map((each) => actual.indexOf(each));
      expect(places).toEqual([...places].sort((a, b) => a - b));
      expect(new Set(places).size).toBe(places.length);
      expect(places).not.toContain(-1);
      await leaders.return();
      await watching.close();
      await proxy.close();
    });
  });
});
