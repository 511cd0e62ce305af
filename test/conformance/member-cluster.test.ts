import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { SystemClock } from "../../src/clock.ts";
import { Member } from "../../src/member/member.ts";
import { type Acting, overlaps } from "../../src/testing/ledger.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdCluster, type EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

const binary = realEtcds.find(({ version }) => version === "3.5");
const now = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;

/** The first thing that a client leaves to chance is the endpoint that it begins with. */
class FirstEndpoint extends SystemClock {
  #asked = false;

  override random(): number {
    if (this.#asked) return super.random();
    this.#asked = true;
    return 0;
  }
}

describe.skipIf(binary === undefined)("members on a cluster of three etcd 3.5", () => {
  let cluster: EtcdCluster;
  let elections = 0;

  beforeAll(async () => {
    if (binary !== undefined) cluster = await EtcdCluster.start({ binary });
  });
  afterAll(() => cluster?.close());

  /** Joins by way of `first`, as long as that answers. */
  const join = async (election: string, id: string, first: EtcdServer): Promise<Member> => {
    const endpoints = [first, ...cluster.others(first)].map(({ endpoint }) => endpoint);
    const member = await Member.join({ endpoints, election, id, ttlSeconds: 5, clock: new FirstEndpoint() });
    await eventually(() => expect(member.leader).toBeDefined());
    return member;
  };

  /** Whether the leader's term survives what is done to the etcd that it talks to; 7 s are more than a TTL. */
  async function staysLeader(
    victim: EtcdServer,
    strike: () => Promise<void>,
    undo: () => Promise<void>,
  ): Promise<void> {
    const election = `/cluster/${++elections}`;
    const [other = victim, third = victim] = cluster.others(victim);
    const leader = await join(election, "a", victim);
    const standbys = [
      await join(election, "b", victim),
      await join(election, "c", other),
      await join(election, "d", third),
    ];
    await eventually(() => expect(leader.role).toBe("leader"));
    const { term } = leader;
    await strike();
    const until = now() + 7_000;
    await eventually(
      () => {
        expect(term?.signal.reason).toBeUndefined();
        expect([leader, ...standbys].map(({ role }) => role)).toEqual([
          "leader",
          "standby",
          "standby",
          "standby",
        ]);
        expect(now()).toBeGreaterThan(until);
      },
      { timeoutMs: 8_000 },
    );
    await undo();
    // A successor is still told.
    await leader.leave();
    await eventually(() => expect(standbys[0]?.role).toBe("leader"));
    await Promise.all(standbys.map((member) => member.leave()));
  }

  const follower = async (): Promise<EtcdServer> => cluster.others(await cluster.leader())[0] as EtcdServer;

  test("keep their leader when the follower that serves them is killed", async () => {
    const victim = await follower();
    await staysLeader(
      victim,
      () => victim.kill(),
      () => victim.restart(),
    );
  });

  test("keep their leader when the follower that serves them stands still", async () => {
    const victim = await follower();
    await staysLeader(
      victim,
      () => victim.stop(),
      async () => victim.cont(),
    );
  });

  test("keep their leader when the raft leader is killed, which serves them", async () => {
    const victim = await cluster.leader();
    await staysLeader(
      victim,
      () => victim.kill(),
      () => victim.restart(),
    );
  });

  test("that are cut off stop before their successor starts, and are back in line after the heal", async () => {
    const proxies = await Promise.all(cluster.endpoints.map((target) => TcpProxy.start({ target })));
    const spells: Acting[] = [];
    const lead =
      (who: string) =>
      async ({ token, signal }: { token: bigint; signal: AbortSignal }): Promise<void> => {
        const start = now();
        await new Promise<void>((resolve) => {
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
        spells.push({ who, start, end: now(), token });
      };
    const election = `/cluster/${++elections}`;
    const options = { election, ttlSeconds: 2 };
    const endpoints = proxies.map(({ endpoint }) => endpoint);
    const a = await Member.join({ ...options, endpoints, id: "a", lead: lead("a") });
    const b = await Member.join({ ...options, endpoints: cluster.endpoints, id: "b", lead: lead("b") });
    await eventually(() => expect([a.role, b.role]).toEqual(["leader", "standby"]));
    await Promise.all(proxies.map((proxy) => proxy.blackHole()));
    await eventually(() => expect([a.role, b.role]).toEqual(["standby", "leader"]));
    await Promise.all(proxies.map((proxy) => proxy.heal()));
    const healedAt = now();
    await eventually(() => expect(b.line.map(({ id }) => id)).toEqual(["b", "a"]));
    expect(now() - healedAt).toBeLessThan(2_500);
    await b.leave();
    await eventually(() => expect(a.role).toBe("leader"));
    await a.leave();
    expect(spells.map(({ who }) => who)).toEqual(["a", "b", "a"]);
    expect(overlaps(spells)).toEqual([]);
    await Promise.all(proxies.map((proxy) => proxy.close()));
  });
});
