import { expect, test } from "vitest";
import { toBytes, toText } from "../../src/etcd/bytes.ts";
import { Compare_CompareResult, Compare_CompareTarget } from "../../src/etcd/gen/etcd_pb.ts";
import { byCreation, created, deleteOp, putOp, rangeOp } from "../../src/etcd/ops.ts";
import { onEveryStore } from "./stores.ts";

onEveryStore("kv", (store) => {
  test("a value that was put is read with its revisions, its version and its lease", async () => {
    const etcd = store.client();
    const key = store.key();
    const first = await etcd.put(key, "one");
    const { ID } = await etcd.leaseGrant(60);
    const second = await etcd.put(key, "two", { lease: ID, prevKv: true });
    expect(toText(second.prevKv?.value ?? toBytes(""))).toBe("one");
    const { kvs, count, header } = await etcd.range(key);
    expect(count).toBe(1n);
    expect(kvs[0]).toMatchObject({
      key: toBytes(key),
      value: toBytes("two"),
      createRevision: first.header?.revision,
      modRevision: second.header?.revision,
      version: 2n,
      lease: ID,
    });
    expect(header?.revision).toBeGreaterThanOrEqual(second.header?.revision ?? 0n);
  });

  test("bytes that are no text pass unchanged, in keys and values", async () => {
    const etcd = store.client();
    const key = Uint8Array.of(...toBytes(store.key()), 0, 0xff, 0xfe);
    const value = Uint8Array.from({ length: 256 }, (_, byte) => byte);
    await etcd.put(key, value);
    const { kvs } = await etcd.range(key);
    expect(new Uint8Array(kvs[0]?.key ?? [])).toEqual(key);
    expect(new Uint8Array(kvs[0]?.value ?? [])).toEqual(value);
  });

  test("a prefix reads its keys alone, sorted and limited as asked", async () => {
    const etcd = store.client();
    const prefix = store.key();
    for (const name of ["b", "a", "c"]) await etcd.put(`${prefix}${name}`, name);
    await etcd.put(`${prefix.slice(0, -1)}0`, "beside");
    const names = async (options: object): Promise<string[]> =>
      (await etcd.range(prefix, { prefix: true, ...options })).kvs.map(({ key }) => toText(key).slice(-1));
    expect(await names({})).toEqual(["a", "b", "c"]);
    expect(await names({ sort: { by: "create" } })).toEqual(["b", "a", "c"]);
    const newestFirst = {
      sort: { by: "create", order: "descend" },
    };
    expect(await names({ ...newestFirst, limit: 2 })).toEqual(["c", "a"]);
    expect(await names({ rangeEnd: `${prefix}c` })).toEqual(["a", "b"]);
    const limited = await etcd.range(prefix, { prefix: true, limit: 1, keysOnly: true });
    expect(limited).toMatchObject({ more: true, count: 3n });
    expect(limited.kvs[0]?.value).toHaveLength(0);
    expect(await etcd.range(prefix, { prefix: true, countOnly: true })).toMatchObject({ kvs: [], count: 3n });
    expect((await etcd.range(prefix, { prefix: true, serializable: true })).count).toBe(3n);
  });

  test("the empty prefix means every key", async () => {
    const etcd = store.client();
    const key = store.key();
    await etcd.put(key, "");
    const { kvs } = await etcd.range("", { prefix: true, keysOnly: true });
    expect(kvs.map((kv) => toText(kv.key))).toContain(key);
  });

  test("an older revision reads as it was", async () => {
    const etcd = store.client();
    const key = store.key();
    const { header } = await etcd.put(key, "old");
    await etcd.put(key, "new");
    const { kvs } = await etcd.range(key, { revision: header?.revision ?? 0n });
    expect(toText(kvs[0]?.value ?? toBytes(""))).toBe("old");
  });

  test("a delete tells how many keys went, and what was in them", async () => {
    const etcd = store.client();
    const prefix = store.key();
    for (const name of ["a", "b"]) await etcd.put(`${prefix}${name}`, name);
    expect(await etcd.delete(`${prefix}a`)).toMatchObject({ deleted: 1n, prevKvs: [] });
    const rest = await etcd.delete(prefix, { prefix: true, prevKv: true });
    expect(rest.deleted).toBe(1n);
    expect(rest.prevKvs.map((kv) => toText(kv.value))).toEqual(["b"]);
    expect((await etcd.delete(prefix, { prefix: true })).deleted).toBe(0n);
  });

  test("a transaction does one list or the other, and its reads see its own puts", async () => {
    const etcd = store.client();
    const prefix = store.key();
    const join = (id: string): ReturnType<typeof etcd.txn> =>
      etcd.txn({
        compare: [created(`${prefix}a`, 0n)],
        success: [putOp(`${prefix}a`, id), rangeOp(byCreation(prefix))],
        failure: [rangeOp(byCreation(prefix, 1))],
      });
    const first = await join("first");
    expect(first.succeeded).toBe(true);
    const read = first.responses[1]?.response;
    expect(read?.case === "responseRange" ? read.value.kvs[0]?.createRevision : undefined).toBe(
      first.header?.revision,
    );
    const second = await join("second");
    expect(second.succeeded).toBe(false);
    const leader = second.responses[0]?.response;
    expect(leader?.case === "responseRange" ? toText(leader.value.kvs[0]?.value ?? toBytes("")) : "").toBe(
      "first",
    );
    const resigned = await etcd.txn({
      compare: [created(`${prefix}a`, first.header?.revision ?? 0n)],
      success: [deleteOp(`${prefix}a`)],
    });
    expect(resigned.succeeded).toBe(true);
  });

  test.each([
    [Compare_CompareTarget.VERSION, { case: "version", value: 2n }],
    [Compare_CompareTarget.VALUE, { case: "value", value: toBytes("x") }],
    [Compare_CompareTarget.LEASE, { case: "lease", value: 0n }],
  ] as const)("a transaction compares target %i", async (target, targetUnion) => {
    const etcd = store.client();
    const key = store.key();
    await etcd.put(key, "x");
    await etcd.put(key, "x");
    const compare = { result: Compare_CompareResult.EQUAL, target, key: toBytes(key), targetUnion };
    expect((await etcd.txn({ compare: [compare] })).succeeded).toBe(true);
    const other = { ...compare, result: Compare_CompareResult.NOT_EQUAL };
    expect((await etcd.txn({ compare: [other] })).succeeded).toBe(false);
  });

  test("what was compacted is refused by its own code, and so is the future", async () => {
    const etcd = store.client();
    const key = store.key();
    const { header } = await etcd.put(key, "1");
    const last = (await etcd.put(key, "2")).header?.revision ?? 0n;
    await etcd.compact(last, { physical: true });
    const revision = header?.revision ?? 0n;
    await expect(etcd.range(key, { revision })).rejects.toMatchObject({
      code: "COMPACTED",
      mayHaveApplied: false,
    });
    await expect(etcd.compact(revision)).rejects.toMatchObject({ code: "COMPACTED" });
    await expect(etcd.range(key, { revision: last + 1_000n })).rejects.toMatchObject({
      code: "ETCD_REFUSED",
      message: expect.stringContaining("required revision is a future revision"),
    });
    expect((await etcd.range(key, { revision: last })).count).toBe(1n);
  });

  test("what etcd refuses is told with etcd's words, once, and has not been applied", async () => {
    const etcd = store.client();
    const key = store.key();
    const refusals: readonly [() => Promise<unknown>, string | RegExp][] = [
      [() => etcd.put("", "x"), "key is not provided"],
      [() => etcd.put(key, "x", { lease: 4_711n }), "requested lease not found"],
      [() => etcd.put(key, new Uint8Array(2 * 1_024 * 1_024)), /too large|larger than max/],
      [() => etcd.txn({ success: [putOp(key, "1"), putOp(key, "2")] }), "duplicate key"],
      [
        () => etcd.txn({ success: Array.from({ length: 129 }, (_, at) => putOp(`${key}${at}`, "")) }),
        "too many operations",
      ],
    ];
    for (const [refused, words] of refusals) {
      await expect(refused()).rejects.toMatchObject({
        name: "EtcdError",
        message: expect.stringMatching(words),
        mayHaveApplied: false,
      });
    }
    expect((await etcd.range(key, { prefix: true })).count).toBe(0n);
  });

  test("a read of more than 4 MiB arrives whole", async () => {
    const etcd = store.client();
    const prefix = store.key();
    const value = new Uint8Array(1_000_000).fill(7);
    for (let at = 0; at < 6; at++) await etcd.put(`${prefix}${at}`, value);
    const { kvs } = await etcd.range(prefix, { prefix: true });
    expect(kvs.map((kv) => kv.value.length)).toEqual(Array.from({ length: 6 }, () => 1_000_000));
  });

  test("a field of the wrong type is named, and nothing is sent", async () => {
    const etcd = store.client();
    const lease = "x" as unknown as bigint;
    await expect(etcd.put(store.key(), "x", { lease })).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringContaining("lease"),
    });
    await expect(etcd.put(7 as unknown as string, "x")).rejects.toMatchObject({ code: "BAD_OPTION" });
  });

  test("status tells the member's version and its raft leader, the member list where it is", async () => {
    const etcd = store.client();
    const status = await etcd.status(store.endpoint);
    expect(status.version).toMatch(/^3\.\d+\.\d+/);
    expect(status.leader).toBe(status.header?.memberId);
    expect((await etcd.status(`http://${store.endpoint}`)).version).toBe(status.version);
    await expect(etcd.status("other:2379")).rejects.toMatchObject({ code: "BAD_OPTION" });
    const { members } = await etcd.memberList();
    expect(members.map(({ ID }) => ID)).toEqual([status.header?.memberId]);
    expect(members[0]?.clientUrls).toEqual([`http://${store.endpoint}`]);
  });

  test("a request that was given up rejects with the signal's reason, before and after it was sent", async () => {
    const etcd = store.client();
    const key = store.key();
    const before = AbortSignal.abort();
    await expect(etcd.put(key, "x", { signal: before })).rejects.toBe(before.reason);
    await expect(etcd.status(store.endpoint, { signal: before })).rejects.toBe(before.reason);
    await expect(etcd.ready({ signal: before })).rejects.toBe(before.reason);
    const given = new AbortController();
    const put = etcd.put(key, "x", { signal: given.signal });
    given.abort();
    await expect(put).rejects.toBe(given.signal.reason);
  });
});
