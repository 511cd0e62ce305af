import { describe, expect, test } from "vitest";
import { type GrpcCode, StatusError } from "../../src/devserver/status-error.ts";
import { toBytes, toText } from "../../src/etcd/bytes.ts";
import { detailsKey, detailsPrefix, parseDetails } from "../../src/member/details.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import { version } from "../../src/version.ts";
import { election, gate, notebook, World } from "./world.ts";

function detailsOf(world: World, prefix: string = detailsPrefix(election)): unknown[] {
  return world.keys
    .filter((key) => key.startsWith(prefix))
    .map((key) =>
      JSON.parse(toText(world.store.range({ key: toBytes(key) }).kvs[0]?.value ?? new Uint8Array())),
    );
}

describe("a member's details", () => {
  test("stand as JSON beside the line, on the member's lease, and go with it", async () => {
    const world = new World();
    const { member } = await world.join("a:1", { address: "10.0.0.1:80", zone: "dc1" });
    const { leaseId = 0n } = member.leader ?? {};
    const key = `_succession/v1/%2Fmerc/members/${leaseId.toString(16)}`;
    expect(world.keys.filter((each) => !each.startsWith("/merc/"))).toEqual([key]);
    expect(key).toBe(detailsKey(election, leaseId));
    expect(world.store.range({ key: toBytes(key) }).kvs[0]?.lease).toBe(leaseId);
    const startedAt = new Date(0).toISOString();
    expect(detailsOf(world)).toEqual([
      { id: "a:1", address: "10.0.0.1:80", zone: "dc1", version, startedAt },
    ]);
    world.store.leaseRevoke({ ID: leaseId });
    expect(detailsOf(world)).toEqual([]);
    await world.advance(1_000);
    // Back again, with its new lease; it started when it started.
    expect(detailsOf(world)).toMatchObject([{ id: "a:1", startedAt }]);
    await member.leave();
    expect(world.keys).toEqual([]);
  });

  test("leave out what was not given", async () => {
    const world = new World();
    const { member } = await world.join("a");
    expect(detailsOf(world)).toEqual([{ id: "a", version, startedAt: expect.any(String) }]);
    await member.leave();
  });

  test("go elsewhere for a tenant", async () => {
    const world = new World();
    const { member } = await world.join("a", { metaPrefix: "tenant/7/" });
    expect(detailsOf(world, "tenant/7/%2Fmerc/members/")).toHaveLength(1);
    await member.leave();
    expect(world.keys).toEqual([]);
  });

  test("that etcd refuses are told once, and the member stands all the same", async () => {
    const world = new World();
    const { logger, said } = notebook();
    world.store.put = () => {
      throw new StatusError(7 as GrpcCode, "etcdserver: permission denied");
    };
    const { member } = await world.join("a", { logger });
    for (let loss = 0; loss < 3; loss++) {
      world.deleteLine();
      await world.advance(2_000);
    }
    expect(member.role).toBe("leader");
    expect(said.filter(({ message }) => message.includes("details"))).toMatchObject([
      { level: "warn", fields: { id: "a", error: { code: "PERMISSION_DENIED" } } },
    ]);
    await member.leave();
    expect(world.pending).toBe(0);
  });

  test("come later where etcd does not take them at first", async () => {
    const world = new World();
    const network = world.network();
    network.silent = (method) => method === "Put";
    const { Member } = await import("../../src/member/member.ts");
    const member = await Member.join(world.options(network, "a"));
    await world.advance(30_000);
    expect([detailsOf(world), member.role]).toEqual([[], "leader"]);
    network.heal();
    await world.advance(6_000);
    expect(detailsOf(world)).toHaveLength(1);
    await member.leave();
    expect([world.keys, world.pending]).toEqual([[], 0]);
  });

  test("say that the member drains, before its key goes, where its term ends by plan", async () => {
    const world = new World();
    const stop = gate();
    const { member } = await world.join("a:10.0.0.1:80", { lead: () => stop.opened });
    const leaving = member.leave();
    await world.settle();
    expect([world.line, detailsOf(world)]).toMatchObject([
      ["a:10.0.0.1:80"],
      [{ id: "a:10.0.0.1:80", draining: true }],
    ]);
    stop.open();
    await leaving;
    expect(world.keys).toEqual([]);
  });

  // Beside the record of the term, the key and the lease.
  test.each<[string, Partial<MemberSettings>, string[]]>([
    ["has an address", { address: "10.0.0.1:80" }, ["Txn", "Put", "Txn", "LeaseRevoke"]],
    ["has none", {}, ["Txn", "Txn", "LeaseRevoke"]],
  ])("cost a leader that leaves one request more at most: it %s", async (_title, settings, requests) => {
    const world = new World();
    const { member, network } = await world.join("a", settings);
    const before = network.sent.length;
    await member.leave();
    expect(network.sent.slice(before).map(({ method }) => method)).toEqual(requests);
  });

  test("are not marked by a standby that leaves, nor by a leader that fails", async () => {
    const world = new World();
    const fail = gate();
    const lead = async (): Promise<never> => {
      await fail.opened;
      throw new Error("no more");
    };
    const address = "10.0.0.1:80";
    const { member: leader, network } = await world.join("a", { address, lead });
    const { member: standby, network: other } = await world.join("b", { address });
    const before = [network.count("Put"), other.count("Put")];
    await standby.leave();
    fail.open();
    await world.settle();
    expect([leader.role, network.count("Put"), other.count("Put")]).toEqual(["standby", ...before]);
    await leader.leave();
  });

  test("that cannot be marked hold the leaving up for a second", async () => {
    const world = new World();
    const { member, network } = await world.join("a", { address: "10.0.0.1:80" });
    network.silent = (method) => method === "Put";
    const leaving = member.leave();
    await world.advance(1_000);
    await leaving;
    expect([world.keys, world.pending, network.openStreams()]).toEqual([[], 0, 0]);
  });

  test.each([
    ["not JSON", {}],
    ["[1]", {}],
    ["null", {}],
    ['"text"', {}],
    ['{"id":"a","colour":"red"}', { id: "a", colour: "red" }],
  ])("read from %s are %o", (json, details) => expect(parseDetails(json)).toEqual(details));
});
