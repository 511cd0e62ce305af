import { describe, expect, test } from "vitest";
import type { MemberSettings } from "../../src/member/options.ts";
import type { FaultScope, Link } from "../../src/testing/index.ts";
import { doubles, election, type Scene, type Stand } from "./doubles.ts";

/** A leader and a standby, each on a link of its own. */
async function pair(
  scene: Scene,
  settings: Partial<MemberSettings> = {},
): Promise<{ readonly a: Stand; readonly b: Stand }> {
  const a = await scene.join("a", settings);
  await scene.until(() => expect(a.member.role).toBe("leader"));
  return { a, b: await scene.join("b", settings) };
}

/** Where the end of a lease is waited for. So short a one may be lost on a busy machine, too. */
const brief = { ttlSeconds: 3 };

const ids = ({ etcd }: Scene): string[] => etcd.line(election).map(({ id }) => id);

describe.concurrent.each(doubles)("a test's etcd $name", ({ open }) => {
  test.each<[string, (link: Link) => unknown]>([
    ["silent", (link) => link.silent()],
    ["silent twice", (link) => [link.silent(), link.silent()]],
    ["silent to its requests", (link) => link.silent({ way: "toServer" })],
    ["silent with its answers", (link) => link.silent({ way: "toClient" })],
    ["silent to renewals alone", (link) => link.silent({ only: "keepAlives" })],
    ["slower than the lease", (link) => link.delay(3_000)],
    ["refused", (link) => link.refuse()],
    ["refused twice", (link) => Promise.all([link.refuse(), link.refuse()])],
  ])("a leader whose link is %s stops by its deadline, before its successor starts", async (_, spoil) => {
    await using scene = await open();
    const { a, b } = await pair(scene, brief);
    await spoil(a.link);
    await scene.until(() => expect(b.member.role).toBe("leader"));
    expect(a.member.role).toBe("standby");
    expect(a.causes[0]).toBe("deadline");
    const [first, ...others] = scene.ledger.spells.map(({ who }) => who);
    expect(first).toBe("a");
    expect(new Set(others)).toEqual(new Set(["b"]));
    expect(scene.ledger.overlaps).toEqual([]);
    await a.link.heal();
    await a.link.heal();
    await scene.until(() => expect(ids(scene).sort()).toEqual(["a", "b"]));
  });

  test("a fault on all links strikes all, and heal takes it back", async () => {
    await using scene = await open();
    const { a, b } = await pair(scene, brief);
    scene.etcd.silent();
    await scene.until(() => expect(a.causes[0]).toBe("deadline"));
    expect(b.member.role).toBe("standby");
    await scene.etcd.heal();
    await scene.until(() => expect(scene.ledger.spells.length).toBeGreaterThan(1));
    await scene.until(() => expect(ids(scene)).toHaveLength(2));
    expect(scene.ledger.overlaps).toEqual([]);
  });

  test("behind silent watches a leader whose key is deleted finds out by reading", async () => {
    await using scene = await open();
    const { a, b } = await pair(scene);
    a.link.silent({ only: "watches" });
    expect(scene.etcd.deleteLeader(election)).toMatchObject({ id: "a" });
    await scene.until(() => expect(a.causes).toContain("key-gone"));
    await scene.until(() => expect(b.member.role).toBe("leader"));
    await a.link.heal();
    await scene.until(() => expect(ids(scene)).toEqual(["b", "a"]));
  });

  test.each<[string, (scene: Scene, leaseId: bigint, key: string) => unknown]>([
    ["its lease is expired", ({ etcd }, leaseId) => etcd.expireLease(leaseId)],
    ["its lease is revoked", ({ etcd }, leaseId) => etcd.revokeLease(leaseId)],
    ["its key is deleted", ({ etcd }, _leaseId, key) => etcd.deleteKey(key)],
  ])("a leader stops when %s, and stands again behind the next", async (_, act) => {
    await using scene = await open();
    const { a, b } = await pair(scene);
    const [first] = scene.etcd.line(election);
    act(scene, first?.leaseId ?? 0n, first?.key ?? "");
    await scene.until(() => expect(b.member.role).toBe("leader"));
    expect(["key-gone", "lease-gone"]).toContain(a.causes[0]);
    await scene.until(() => expect(ids(scene)).toEqual(["b", "a"]));
    expect(scene.etcd.deleteKey(first?.key ?? "")).toBe(false);
  });

  test("a compaction that a cut off member has missed does not stop it from following", async () => {
    await using scene = await open();
    const { a, b } = await pair(scene);
    const etcd = scene.etcd.client();
    await b.link.refuse();
    for (const value of ["1", "2", "3"]) await scene.result(etcd.put("/other", value));
    scene.etcd.compact();
    scene.etcd.compact();
    scene.etcd.compact(1n);
    await expect(scene.result(etcd.range("/other", { revision: 1n }))).rejects.toMatchObject({
      code: "COMPACTED",
    });
    await b.link.heal();
    await scene.until(() => expect(ids(scene)).toContain("b"));
    await scene.result(a.member.leave());
    await scene.until(() => expect(b.member.role).toBe("leader"));
  });

  test("a restart with its data keeps the leader, one without makes all stand anew", async () => {
    await using scene = await open();
    const { a, b } = await pair(scene);
    const before = scene.etcd.endpoint;
    await scene.etcd.restart();
    await Promise.all([scene.etcd.restart(), scene.etcd.restart()]);
    expect(scene.etcd.endpoint).toBe(before);
    await scene.result(scene.etcd.client().put("/seen", "1"));
    await scene.until(() => expect([a.member.role, b.member.role]).toEqual(["leader", "standby"]));
    expect(a.causes).toEqual([]);
    expect(scene.ledger.overlaps).toEqual([]);

    // No proof outlives the store that gave it; who hears of that first is chance.
    await scene.etcd.restart({ keepData: false });
    expect(ids(scene)).toEqual([]);
    await scene.until(() => expect(ids(scene)).toHaveLength(2));
    await scene.until(() => expect(a.causes).not.toEqual([]));
    await scene.until(() => expect([a.member.role, b.member.role].sort()).toEqual(["leader", "standby"]));
  });

  test("an older state that is restored, twice, ends the term of whoever led", async () => {
    await using scene = await open();
    const backup = scene.etcd.backup();
    const { a, b } = await pair(scene);
    for (let count = 1; count <= 2; count++) {
      const spells = scene.ledger.spells.length;
      scene.etcd.restore(backup);
      expect(ids(scene)).toEqual([]);
      await scene.until(() => expect(scene.ledger.spells.length).toBeGreaterThan(spells));
      await scene.until(() => expect(ids(scene)).toHaveLength(2));
    }
    // Whatever was noticed first.
    const possible = ["store-restored", "lease-gone", "key-gone"];
    expect(possible).toEqual(expect.arrayContaining([...a.causes, ...b.causes]));
    // No proof outlives the store that gave it, so for as long as an old one stood two may have acted.
    expect(a.causes).not.toEqual([]);
  });

  test("without space nobody can put, and the leader goes on", async () => {
    await using scene = await open();
    const { a } = await pair(scene);
    const etcd = scene.etcd.client();
    scene.etcd.noSpace();
    scene.etcd.noSpace();
    const refusal = await scene.result(etcd.put("/x", "1", { timeoutMs: 500 }).catch((error) => error));
    expect(refusal.message).toContain("database space exceeded");
    await scene.etcd.heal();
    await scene.result(etcd.put("/x", "1"));
    expect(a.member.role).toBe("leader");
    expect(a.causes).toEqual([]);
  });

  test("without a quorum nobody leads for long, and the store refuses what etcd would refuse", async () => {
    await using scene = await open();
    const { a } = await pair(scene, brief);
    scene.etcd.noQuorum();
    scene.etcd.noQuorum();
    expect(() => scene.etcd.deleteLeader(election)).toThrow(
      expect.objectContaining({ code: "ETCD_REFUSED" }),
    );
    await scene.until(() => expect(a.causes[0]).toBe("deadline"));
    await scene.etcd.heal();
    await scene.until(() => expect(ids(scene)).toHaveLength(2));
    await scene.until(() => expect(scene.ledger.spells.length).toBeGreaterThan(1));
    expect(scene.ledger.overlaps).toEqual([]);
  });

  test("what is withheld is delivered by heal in order, except what was given up", async () => {
    await using scene = await open();
    const link = await scene.link();
    const etcd = link.client({ attemptTimeoutMs: 60_000 });
    await scene.result(etcd.put("/first", "0"));
    link.silent({ only: "requests" });
    const givenUp = etcd.put("/given-up", "1", { signal: AbortSignal.abort() }).catch(() => {});
    const puts = [etcd.put("/first", "1"), etcd.put("/second", "2")];
    await givenUp;
    expect(scene.etcd.backup().revision).toBe(2n);
    await link.heal();
    await scene.result(Promise.all(puts));
    const { kvs } = await scene.result(etcd.range("/", { prefix: true }));
    expect(kvs.map(({ key }) => Buffer.from(key).toString())).toEqual(["/first", "/second"]);
  });

  test("answers that are withheld belong to requests that were carried out", async () => {
    await using scene = await open();
    const link = await scene.link();
    const etcd = link.client({ attemptTimeoutMs: 60_000 });
    await scene.result(etcd.put("/x", "0"));
    link.silent({ way: "toClient", only: "requests" });
    const put = etcd.put("/x", "1");
    await scene.until(() => expect(scene.etcd.backup().revision).toBe(3n));
    await link.heal();
    expect((await scene.result(put)).header?.revision).toBe(3n);
  });

  test("a request that is under way when connections are refused fails at once and works after heal", async () => {
    await using scene = await open();
    const link = await scene.link();
    const etcd = link.client();
    await scene.result(etcd.put("/x", "0"));
    link.silent({ only: "requests" });
    const put = etcd.put("/x", "1").catch((error) => error);
    // Time for it to leave.
    await scene.until(() => {});
    await link.refuse();
    expect(await scene.result(put)).toMatchObject({ code: "ETCD_UNAVAILABLE" });
    await link.heal();
    await scene.result(etcd.put("/x", "2"));
  });

  test.each<[string, (link: Link) => unknown, string]>([
    [
      "delay(-1)",
      (link) => link.delay(-1),
      "delay must be a number of milliseconds from 0 to 2147483647, got -1",
    ],
    [
      'delay("1")',
      (link) => link.delay("1" as never),
      'delay must be a number of milliseconds from 0 to 2147483647, got "1"',
    ],
    ["delay(NaN)", (link) => link.delay(Number.NaN), "got NaN"],
    [
      "silent({ only: 'all' })",
      (link) => link.silent({ only: "all" } as never),
      'only must be "keepAlives" or "watches" or "requests", got "all"',
    ],
    [
      "silent({ way: 'up' })",
      (link) => link.silent({ way: "up" } as never),
      'way must be "toServer" or "toClient", got "up"',
    ],
    [
      "silent({ off: true })",
      (link) => link.silent({ off: true } as FaultScope),
      'options must be without unknown fields, got "off"',
    ],
    ["silent(1)", (link) => link.silent(1 as never), "options must be an object, got 1"],
    [
      "client({ endpoints })",
      (link) => link.client({ endpoints: [] } as never),
      'options must be without unknown fields, got "endpoints"',
    ],
  ])("%s is a bad option", async (_, call, message) => {
    await using scene = await open();
    expect(() => call(scene.etcd.main)).toThrow(
      expect.objectContaining({ code: "BAD_OPTION", message: expect.stringContaining(message) }),
    );
  });

  test("switches of the store name what is wrong with their arguments", async () => {
    await using scene = await open();
    const { etcd } = scene;
    const calls: [() => unknown, string][] = [
      [() => etcd.line("/merc/"), 'election must be a name without a trailing /, got "/merc/"'],
      [() => etcd.deleteLeader(""), "election must be"],
      [() => etcd.deleteKey(""), 'key must be the name of a key, got ""'],
      [() => etcd.expireLease(7n), "leaseId must be the id of a lease that exists, got 7"],
      [() => etcd.revokeLease(7 as never), "leaseId must be a bigint, got 7"],
      [() => etcd.compact(-1n), "revision must be a bigint of 0 or more, got -1"],
      [
        () => etcd.restore({ revision: 1n }),
        "backup must be what backup() of this etcd returned, got an object",
      ],
    ];
    for (const [call, message] of calls) {
      expect(call).toThrow(
        expect.objectContaining({ code: "BAD_OPTION", message: expect.stringContaining(message) }),
      );
    }
    await expect(etcd.restart({ keepData: 1 } as never)).rejects.toThrow(
      "keepData must be true or false, got 1",
    );
    expect(() => etcd.compact(99n)).toThrow(expect.objectContaining({ code: "ETCD_REFUSED" }));
    expect(etcd.deleteLeader(election)).toBeUndefined();
  });

  test("close may be called twice, closes the clients, and every switch then says so", async () => {
    const scene = await open();
    const { etcd } = scene;
    const client = etcd.client();
    const link = await scene.link();
    await Promise.all([etcd.close(), etcd.close(), link.close()]);
    await etcd.close();
    const closed = expect.objectContaining({ code: "CLOSED" });
    await expect(client.range("/x")).rejects.toThrow(closed);
    for (const each of [etcd, etcd.main, link]) {
      for (const call of [() => each.silent(), () => each.delay(1), () => each.client()]) {
        expect(call).toThrow(closed);
      }
      await expect(each.heal()).rejects.toThrow(closed);
      await expect(each.refuse()).rejects.toThrow(closed);
    }
    for (const call of [
      ...[() => etcd.line(election), () => etcd.backup(), () => etcd.noSpace(), () => etcd.noQuorum()],
      ...[() => etcd.compact(), () => etcd.deleteKey("/x"), () => etcd.expireLease(1n)],
    ]) {
      expect(call).toThrow(closed);
    }
    await expect(etcd.restart()).rejects.toThrow(closed);
  });

  test("two of them know nothing of each other", async () => {
    await using one = await open();
    await using two = await open();
    const [a, b] = [await one.join("a"), await two.join("b")];
    await one.until(() => expect(a.member.role).toBe("leader"));
    await two.until(() => expect(b.member.role).toBe("leader"));
    one.etcd.silent();
    expect(two.etcd.line(election)).toHaveLength(1);
    await two.result(two.etcd.client().put("/x", "1"));
  });
});
