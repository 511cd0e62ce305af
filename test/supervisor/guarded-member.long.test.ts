import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberOptions } from "../../src/member/options.ts";
import { processEntry } from "../../src/supervisor/process-table.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { onEveryStore } from "../conformance/stores.ts";
import { GuardedService, longTtlSeconds } from "../member/guarded-service.ts";
import { eventually } from "../support/eventually.ts";

const patience = { timeoutMs: 20_000 };

onEveryStore("a guarded leader that is killed", (store) => {
  test("is replaced at once, and leaves neither key nor lease nor guardian", async () => {
    const options = { endpoints: [store.endpoint], election: store.key("merc") };
    await using a = await GuardedService.with({ ...options, id: "a" });
    await a.leads("a");
    const etcd = store.client();
    const { leases: before } = await etcd.leaseList();
    await using b = await Member.join({ ...options, id: "b", ttlSeconds: longTtlSeconds });
    const [guardian = 0] = a.guardians;
    await a.child.kill();
    await eventually(() => expect(b.role).toBe("leader"), patience);
    await eventually(() => expect(processEntry(guardian)).toBeUndefined(), patience);
    expect(b.line.map(({ id }) => id)).toEqual(["b"]);
    const { leases } = await etcd.leaseList();
    expect(leases.filter(({ ID }) => before.some((each) => each.ID === ID))).toEqual([]);
    expect(a.child.stderr).toContain("it is dead; its place is given back");
  });
});

describe.concurrent("a guarded member", () => {
  let server: DevServer;
  let elections = 0;
  beforeAll(async () => {
    server = await DevServer.start();
  });
  afterAll(() => server.close());

  const common = (): Pick<MemberOptions, "election"> & { endpoints: string[] } => ({
    endpoints: [server.endpoint],
    election: `/guarded/${++elections}`,
  });

  test("whose event loop is blocked is killed first, then replaced", async () => {
    const options = { ...common(), hangAfterMs: 1_000 };
    await using a = await GuardedService.with({ ...options, id: "a" });
    await a.leads("a");
    await using b = await GuardedService.with({ ...options, id: "b" });
    a.child.write("block 60000\n");
    expect(await a.child.exit).toEqual({ code: null, signal: "SIGKILL" });
    expect(await b.leads("b")).toBeGreaterThan(a.lastActAt);
    expect(a.child.stderr).toMatch(/no sign of life for \d+ ms and it was killed; its place is given back/);
  });

  test("that is blocked for less than hangAfterMs goes on as leader", async () => {
    const options = { ...common(), hangAfterMs: 2_000 };
    await using a = await GuardedService.with({ ...options, id: "a" });
    await a.leads("a");
    await using b = await Member.join({ ...options, id: "b", ttlSeconds: longTtlSeconds });
    a.child.write("block 1800\n");
    await a.child.waitFor("awake", 20_000);
    expect(b.role).toBe("standby");
    expect(a.child.ended).toBeUndefined();
  });

  test("that is stopped as a whole is killed, then replaced", async () => {
    const options = { ...common(), hangAfterMs: 1_000 };
    await using a = await GuardedService.with({ ...options, id: "a" });
    await a.leads("a");
    await using b = await Member.join({ ...options, id: "b", ttlSeconds: longTtlSeconds });
    await a.child.stop();
    expect(await a.child.exit).toEqual({ code: null, signal: "SIGKILL" });
    await eventually(() => expect(b.role).toBe("leader"), patience);
  });

  test("whose guardian is killed has another soon, and leads on", async () => {
    const options = common();
    await using a = await GuardedService.with({ ...options, id: "a" });
    await a.leads("a");
    await using b = await Member.join({ ...options, id: "b", ttlSeconds: longTtlSeconds });
    const [first = 0] = a.guardians;
    process.kill(first, "SIGKILL");
    await a.child.waitFor("warn: the guardian has ended", 20_000);
    await a.guardianAfter(first);
    expect([b.role, a.zombies]).toEqual(["standby", 0]);
    // What the new one was told waits in its pipe, however long it takes to start.
    await a.child.kill();
    await eventually(() => expect(b.role).toBe("leader"), patience);
  });

  test("shares one guardian with the others of its process; with the last one it goes", async () => {
    const [one, two] = [common(), common()];
    await using a = await GuardedService.with({ ...one, id: "a1" });
    await a.join({ ...two, id: "a2" });
    expect(a.guardians).toHaveLength(1);
    await a.leave("a1");
    expect(a.guardians).toHaveLength(1);
    await using b = await Member.join({ ...two, id: "b", ttlSeconds: longTtlSeconds });
    await a.leave("a2");
    await eventually(() => expect(b.role).toBe("leader"), patience);
    // The service lives, and nothing is left beside it.
    expect([a.child.ended, a.guardians, a.zombies]).toEqual([undefined, [], 0]);
  });
});

describe("a guardian is refused", () => {
  test.each<[string, object, string]>([
    ["that is neither", { guardian: 1 }, "guardian must be true or false, got 1"],
    ["without a worker", { guardian: true, worker: false }, "guardian must be false without a worker thread"],
    [
      "under a clock of one's own",
      { guardian: true, clock: new ManualClock() },
      "guardian must be false with a clock",
    ],
  ])("%s", async (_title, options, message) => {
    const all = { endpoints: ["127.0.0.1:1"], election: "/merc", id: "a", ...options };
    await expect(Member.join(all as MemberOptions)).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringContaining(message),
    });
  });
});
