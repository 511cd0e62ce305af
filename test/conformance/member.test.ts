import { describe, expect, test } from "vitest";
import { toText } from "../../src/etcd/bytes.ts";
import type { Etcd } from "../../src/etcd/etcd.ts";
import { detailsKey } from "../../src/member/details.ts";
import { Member } from "../../src/member/member.ts";
import { collect, notebook } from "../member/world.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { onEveryStore } from "./stores.ts";

/** The ids in the line as etcd has them, the leader first. */
async function lineOf(etcd: Etcd, election: string): Promise<string[]> {
  const { kvs } = await etcd.range(`${election}/`, { prefix: true, sort: { by: "create" } });
  return kvs.map((kv) => toText(kv.value));
}

/** The token of the member's own key, once it has seen it in the line. */
async function tokenInLine(member: Member): Promise<bigint> {
  return await eventually(() => {
    const own = member.line.find(({ id }) => id === member.id);
    if (own === undefined) throw new Error(`${member.id} does not see itself in the line`);
    return own.token;
  });
}

onEveryStore("members", (store) => {
  test("lead in the order in which they came", async () => {
    const etcd = store.client();
    const election = store.key("order");
    const ids = ["a", "b", "c", "d"];
    const members: Member[] = [];
    for (const id of ids) members.push(await Member.join({ etcd, election, id }));
    expect(await lineOf(etcd, election)).toEqual(ids);
    let before = 0n;
    for (const member of members) {
      await eventually(() => expect(member.role).toBe("leader"));
      const token = member.term?.token ?? 0n;
      expect(token).toBeGreaterThan(before);
      before = token;
      expect(members.filter(({ role }) => role === "leader")).toEqual([member]);
      await member.leave();
    }
    expect(await lineOf(etcd, election)).toEqual([]);
  });

  test.each<[string, (etcd: Etcd, election: string, member: Member) => Promise<unknown>]>([
    ["its key was deleted", (etcd, _election, { term }) => etcd.delete(term?.key ?? "")],
    ["all keys were deleted", (etcd, election) => etcd.delete(`${election}/`, { prefix: true })],
    ["its lease was revoked", (etcd, _election, { leader }) => etcd.leaseRevoke(leader?.leaseId ?? 0n)],
  ])("return by themselves after %s", async (_title, strike) => {
    const etcd = store.client();
    const election = store.key("return");
    const a = await Member.join({ etcd, election, id: "a" });
    const b = await Member.join({ etcd, election, id: "b" });
    await eventually(() => expect(a.role).toBe("leader"));
    const { term } = a;
    await strike(etcd, election, a);
    await eventually(async () => {
      expect((await lineOf(etcd, election)).toSorted()).toEqual(["a", "b"]);
      expect([a, b].filter(({ role }) => role === "leader")).toHaveLength(1);
    });
    expect(term?.signal.aborted).toBe(true);
    // They are stored behind the key, not with it.
    await eventually(async () => {
      const prefix = `_succession/v1/${encodeURIComponent(election)}/members/`;
      const { kvs } = await etcd.range(prefix, { prefix: true });
      expect(kvs.map((kv) => JSON.parse(toText(kv.value)).id).toSorted()).toEqual(["a", "b"]);
    });
    await Promise.all([a.leave(), b.leave()]);
  });

  test("that wait hear of a successor's own loss before of his election, when both keys go at once", async () => {
    const etcd = store.client();
    const election = store.key("both");
    const a = await Member.join({ etcd, election, id: "a" });
    const b = await Member.join({ etcd, election, id: "b" });
    const changes = collect(b);
    const token = await tokenInLine(b);
    await etcd.delete(`${election}/`, { prefix: true });
    await eventually(() => expect(changes.some(({ cause }) => cause === "key-gone")).toBe(true));
    expect(changes.filter(({ term }) => term?.token === token)).toEqual([]);
    await Promise.all([a.leave(), b.leave()]);
  });

  test("wait through a compaction", async () => {
    const etcd = store.client();
    const election = store.key("compaction");
    const a = await Member.join({ etcd, election, id: "a" });
    const b = await Member.join({ etcd, election, id: "b" });
    const { header } = await etcd.put(store.key(), "x");
    await etcd.compact(header?.revision ?? 0n);
    await a.leave();
    await eventually(() => expect(b.role).toBe("leader"));
    await b.leave();
  });

  test("tell their details on their own lease, and take them along", async () => {
    const etcd = store.client();
    const election = store.key("details");
    const member = await Member.join({ etcd, election, id: "a", address: "10.0.0.1:80", zone: "dc1" });
    await tokenInLine(member);
    const leaseId = member.leader?.leaseId ?? 0n;
    const key = detailsKey(election, leaseId);
    const kv = await eventually(async () => {
      const { kvs } = await etcd.range(key);
      expect(kvs).toHaveLength(1);
      return kvs[0];
    });
    expect(kv?.lease).toBe(leaseId);
    expect(JSON.parse(toText(kv?.value ?? new Uint8Array()))).toMatchObject({
      id: "a",
      address: "10.0.0.1:80",
    });
    await member.leave();
    expect((await etcd.range(key)).kvs).toEqual([]);
  });

  test("leave no socket, lease or key behind, in 100 rounds", async () => {
    const etcd = store.client();
    const election = store.key("rounds");
    const keys = async (): Promise<bigint> =>
      (await etcd.range("\0", { rangeEnd: "\0", countOnly: true })).count;
    const leases = async (): Promise<number> => (await etcd.leaseList()).leases.length;
    await etcd.ready();
    const before = [await keys(), await leases()];
    const handles = (): number => process.getActiveResourcesInfo().length;
    const first = handles();
    for (let round = 0; round < 100; round++) {
      const own = round % 10 === 0;
      const way = own ? { endpoints: [store.endpoint] } : { etcd };
      const member = await Member.join({ ...way, election, id: `m${round}` });
      await member.leave();
    }
    await eventually(async () => expect([await keys(), await leases()]).toEqual(before));
    await eventually(() => expect(handles()).toBeLessThanOrEqual(first + 3));
  });
});

describe.concurrent.each(realEtcds)("members on etcd $version", (binary) => {
  test("stand in one line with etcdctl's candidates, and lead in the order of creation", async () => {
    await using server = await EtcdServer.start({ binary });
    const election = "/mix";
    const first = async (): Promise<string | undefined> => {
      const flags = ["--prefix", "--sort-by=CREATE", "--order=ASCEND", "--limit=1", "--print-value-only"];
      return (await server.etcdctl("get", election, ...flags)) || undefined;
    };
    const standing = async (count: number): Promise<void> => {
      await eventually(async () => {
        const keys = await server.etcdctl("get", `${election}/`, "--prefix", "--keys-only");
        expect(keys.split("\n").filter((key) => key !== "")).toHaveLength(count);
      });
    };
    const join = (id: string): Promise<Member> =>
      Member.join({ endpoints: [server.endpoint], election, id, address: id, ttlSeconds: 5 });
    const m1 = await join("m1");
    const c2 = server.startEtcdctl("elect", election, "c2");
    await standing(2);
    const m3 = await join("m3");
    const m4 = await join("m4");
    const c5 = server.startEtcdctl("elect", election, "c5");
    await standing(5);
    const m6 = await join("m6");
    const all = [m1, m3, m4, m6];
    const leads = async (id: string): Promise<void> => {
      await eventually(async () => {
        expect(await first()).toBe(id);
        for (const member of all) if (member.phase !== "outside") expect(member.leader?.id).toBe(id);
        expect(all.filter(({ role }) => role === "leader").map((member) => member.id)).toEqual(
          id.startsWith("m") ? [id] : [],
        );
      });
    };
    await leads("m1");
    await m1.leave();
    await leads("c2");
    await c2.waitFor("c2", 5_000);
    expect(c5.lines).toEqual([]);
    c2.signal("SIGINT");
    await leads("m3");
    await m3.leave();
    await leads("m4");
    await m4.leave();
    await leads("c5");
    await c5.waitFor("c5", 5_000);
    c5.signal("SIGINT");
    await leads("m6");
    await m6.leave();
    await eventually(async () => expect(await first()).toBeUndefined());
  });

  test("keep their places when etcd is restarted with its data", async () => {
    await using server = await EtcdServer.start({ binary });
    const join = (id: string): Promise<Member> =>
      Member.join({ endpoints: [server.endpoint], election: "/merc", id, ttlSeconds: 10 });
    const a = await join("a");
    const b = await join("b");
    await eventually(() => expect(a.role).toBe("leader"));
    const { term } = a;
    await server.restart();
    // It has been heard again once it has renewed.
    const { remainingMs = 0 } = term ?? {};
    await eventually(() => expect(term?.remainingMs).toBeGreaterThan(remainingMs));
    expect(b.leader?.id).toBe("a");
    expect([term?.signal.aborted, a.role, b.role]).toEqual([false, "leader", "standby"]);
    await a.leave();
    await eventually(() => expect(b.role).toBe("leader"));
    await b.leave();
  });

  test("are standbys through an outage longer than the TTL, and one leads soon after it", async () => {
    await using server = await EtcdServer.start({ binary });
    const join = (id: string): Promise<Member> =>
      Member.join({ endpoints: [server.endpoint], election: "/merc", id, ttlSeconds: 2 });
    const members = [await join("a"), await join("b"), await join("c")];
    const tokens = [await tokenInLine(members[0] as Member)];
    await server.kill();
    await eventually(() => expect(members.every(({ phase }) => phase === "outside")).toBe(true));
    await server.restart();
    const back = performance.now();
    await eventually(() => expect(members.filter(({ role }) => role === "leader")).toHaveLength(1));
    expect(performance.now() - back).toBeLessThan(4_000);
    await eventually(() => expect(members.every(({ leader }) => leader?.id !== undefined)).toBe(true));
    tokens.push(members.find(({ term }) => term !== undefined)?.term?.token ?? 0n);
    expect(tokens[1]).toBeGreaterThan(tokens[0] as bigint);
    await Promise.all(members.map((member) => member.leave()));
  });

  test("need rights to their election's range alone, and refused credentials reject at once", async () => {
    await using server = await EtcdServer.start({ binary });
    const root = (...args: string[]): Promise<string> => server.etcdctl("--user=root:secret", ...args);
    await server.etcdctl("user", "add", "root:secret");
    await server.etcdctl("user", "grant-role", "root", "root");
    await server.etcdctl("role", "add", "merc");
    await server.etcdctl("role", "grant-permission", "merc", "readwrite", "/merc/", "/merc0");
    await server.etcdctl("user", "add", "m:secret");
    await server.etcdctl("user", "grant-role", "m", "merc");
    await server.etcdctl("auth", "enable");
    const { logger, said } = notebook();
    const sound = { endpoints: [server.endpoint], election: "/merc", id: "a", user: "m", password: "secret" };
    const started = performance.now();
    await expect(Member.join({ ...sound, password: "wrong" })).rejects.toMatchObject({ code: "AUTH_FAILED" });
    await expect(Member.join({ ...sound, user: "nobody" })).rejects.toMatchObject({ code: "AUTH_FAILED" });
    const { user: _user, password: _password, ...anonymous } = sound;
    await expect(Member.join(anonymous)).rejects.toMatchObject({ code: "AUTH_FAILED" });
    await expect(Member.join({ ...sound, election: "/other" })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    expect(performance.now() - started).toBeLessThan(5_000);
    const a = await Member.join({ ...sound, logger });
    const b = await Member.join({ ...sound, id: "b" });
    const refusals = (): unknown[] =>
      said.filter(({ message }) => message.includes("refuses this member's details"));
    await eventually(() => expect(refusals()).toHaveLength(1));
    for (let loss = 0; loss < 3; loss++) {
      const before = await tokenInLine(a);
      await root("del", "/merc/", "--prefix");
      await eventually(() =>
        expect(a.line.find(({ id }) => id === "a")?.token ?? 0n).toBeGreaterThan(before),
      );
      await eventually(() => expect([a, b].filter(({ role }) => role === "leader")).toHaveLength(1));
    }
    expect(refusals()).toHaveLength(1);
    expect(await root("get", "_succession", "--prefix")).toBe("");
    expect(
      JSON.stringify(said, (_key, value) => (typeof value === "bigint" ? String(value) : value)),
    ).not.toContain("secret");
    await Promise.all([a.leave(), b.leave()]);
    expect(await root("get", "/merc", "--prefix")).toBe("");
  });
});
