import { expect, test } from "vitest";
import { keepAliveOnce } from "../../src/etcd/keep-alive-once.ts";
import { eventually } from "../support/eventually.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { onEveryStore } from "./stores.ts";

onEveryStore("leases", (store) => {
  test("a lease is granted with an id of the client's choice, listed, and known with its keys", async () => {
    const etcd = store.client();
    const key = store.key();
    const { ID, TTL } = await etcd.leaseGrant(60);
    expect(ID).toBeGreaterThan(0n);
    expect(TTL).toBe(60n);
    await etcd.put(key, "x", { lease: ID });
    expect((await etcd.leaseList()).leases.map((lease) => lease.ID)).toContain(ID);
    const left = await etcd.leaseTimeToLive(ID, { keys: true });
    expect(left).toMatchObject({ ID, grantedTtl: 60n, keys: [new TextEncoder().encode(key)] });
    expect(left.TTL).toBeGreaterThanOrEqual(58n);
  });

  test("an id that is in use is refused, and the lease under it stays as it was", async () => {
    const etcd = store.client();
    const leaseId = 0x7000_0000_0000_0000n + BigInt(Date.now());
    expect((await etcd.leaseGrant(60, { leaseId })).ID).toBe(leaseId);
    await expect(etcd.leaseGrant(30, { leaseId })).rejects.toMatchObject({
      code: "ETCD_REFUSED",
      message: expect.stringContaining("lease already exists"),
      mayHaveApplied: false,
    });
    expect((await etcd.leaseTimeToLive(leaseId)).grantedTtl).toBe(60n);
  });

  test("a grant whose answer was lost is repeated and gives the one lease that there is", async () => {
    await using proxy = await TcpProxy.start({ target: store.endpoint });
    const etcd = store.client();
    const cut = store.client({ endpoints: [proxy.endpoint], attemptTimeoutMs: 500 });
    await cut.ready();
    const before = (await etcd.leaseList()).leases.map((lease) => lease.ID);
    proxy.halfOpen("toServer");
    const sentAt = cut.clock.now();
    const granting = cut.grant(60);
    const others = async (): Promise<bigint[]> =>
      (await etcd.leaseList()).leases.map((lease) => lease.ID).filter((ID) => !before.includes(ID));
    // etcd has carried it out, and the client does not know.
    await eventually(async () => expect(await others()).toHaveLength(1));
    const sentBy = cut.clock.now();
    // The connection goes together with the answer.
    proxy.resetAll();
    await proxy.heal();
    const { response, sentAt: provenFrom } = await granting;
    expect(await others()).toEqual([response.ID]);
    expect(response.TTL).toBe(60n);
    // Its time counts from the first sending: the lease may be as old as that.
    expect(provenFrom).toBeGreaterThanOrEqual(sentAt);
    expect(provenFrom).toBeLessThan(sentBy);
  });

  test("a grant that was given up leaves no lease behind", async () => {
    await using proxy = await TcpProxy.start({ target: store.endpoint });
    const etcd = store.client();
    const cut = store.client({ endpoints: [proxy.endpoint], attemptTimeoutMs: 500 });
    await cut.ready();
    const before = (await etcd.leaseList()).leases.length;
    proxy.halfOpen("toServer");
    const given = new AbortController();
    const granting = cut.leaseGrant(60, { signal: given.signal });
    await eventually(async () => expect((await etcd.leaseList()).leases).toHaveLength(before + 1));
    given.abort();
    await expect(granting).rejects.toBe(given.signal.reason);
    await proxy.heal();
    await eventually(async () => expect((await etcd.leaseList()).leases).toHaveLength(before));
  });

  test("one keepalive refills a lease, and a lease that is gone is told as lost", async () => {
    const etcd = store.client();
    const { ID } = await etcd.leaseGrant(60);
    const before = etcd.clock.now();
    const { sentAt, ttlSeconds } = await keepAliveOnce(etcd, ID);
    expect(ttlSeconds).toBe(60);
    expect(sentAt).toBeGreaterThanOrEqual(before);
    expect(sentAt).toBeLessThanOrEqual(etcd.clock.now());
    await etcd.leaseRevoke(ID);
    await expect(keepAliveOnce(etcd, ID)).rejects.toMatchObject({ code: "SESSION_LOST" });
    expect(await etcd.leaseTimeToLive(ID)).toMatchObject({ TTL: -1n });
  });

  test("revoking deletes the lease's keys at one revision; a second time there is no such lease", async () => {
    const etcd = store.client();
    const prefix = store.key();
    const { ID } = await etcd.leaseGrant(60);
    for (const name of ["a", "b"]) await etcd.put(`${prefix}${name}`, "", { lease: ID });
    const { header } = await etcd.put(`${prefix}c`, "");
    await etcd.leaseRevoke(ID);
    const rest = await etcd.range(prefix, { prefix: true });
    expect(rest.count).toBe(1n);
    expect(rest.header?.revision).toBe((header?.revision ?? 0n) + 1n);
    await expect(etcd.leaseRevoke(ID)).rejects.toMatchObject({ code: "SESSION_LOST", mayHaveApplied: false });
  });

  test("a lease that nobody renews ends, and its keys with it", async () => {
    const etcd = store.client();
    const key = store.key();
    const { ID, TTL } = await etcd.leaseGrant(1);
    expect(TTL).toBeGreaterThanOrEqual(1n);
    const { header } = await etcd.put(key, "x", { lease: ID });
    for await (const { events } of etcd.watch({ key, startRevision: (header?.revision ?? 0n) + 1n })) {
      expect(events).toHaveLength(1);
      break;
    }
    expect((await etcd.range(key)).count).toBe(0n);
  });

  test.each([0, 1.5, -3, Number.NaN])("a TTL of %d is refused before it is sent", async (ttlSeconds) => {
    await expect(store.client().leaseGrant(ttlSeconds)).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: `ttlSeconds must be an integer of 1 or more, got ${ttlSeconds}`,
    });
  });

  test("a TTL above etcd's largest is refused with etcd's words", async () => {
    await expect(store.client().leaseGrant(9_000_000_001)).rejects.toMatchObject({
      code: "ETCD_REFUSED",
      message: expect.stringContaining("too large lease TTL"),
    });
  });

  test("a thousand keepalives one by one leave no stream behind", async () => {
    const etcd = store.client();
    const { ID } = await etcd.leaseGrant(60);
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 100 }, () => keepAliveOnce(etcd, ID)));
    }
    expect((await etcd.leaseTimeToLive(ID)).TTL).toBeGreaterThanOrEqual(58n);
  });
});
