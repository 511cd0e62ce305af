import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Member } from "../../src/member/member.ts";
import { onEveryStore } from "../conformance/stores.ts";
import { Authority } from "../etcd/certificates.ts";
import { appPassword, SecuredEtcd } from "../etcd/secured-etcd.ts";
import { GuardedService, longTtlSeconds } from "../member/guarded-service.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

const patience = { timeoutMs: 30_000 };
const timeoutMs = 180_000;

onEveryStore("a guarded leader", (store) => {
  const common = (): { endpoints: string[]; election: string } => ({
    endpoints: [store.endpoint],
    election: store.key("merc"),
  });
  const standby = (options: ReturnType<typeof common>): Promise<Member> =>
    Member.join({ ...options, id: "b", ttlSeconds: longTtlSeconds });

  test.each([
    ["exits without leaving", "exit\n"],
    ["is blocked", "block 60000\n"],
  ])(
    "that %s is replaced at once, ten times over",
    async (_title, fault) => {
      const options = { ...common(), hangAfterMs: 1_000 };
      let leader = await GuardedService.with({ ...options, id: "0" });
      await leader.leads("0");
      for (let round = 1; round <= 10; round++) {
        const next = await GuardedService.with({ ...options, id: String(round) });
        leader.child.write(fault);
        await leader.child.exit;
        const since = await next.leads(String(round));
        if (fault.startsWith("block")) expect(since).toBeGreaterThan(leader.lastActAt);
        leader = next;
      }
      await leader.child.kill();
    },
    timeoutMs,
  );

  test(
    "that is killed leaves no more behind in one election than in another",
    async () => {
      const [one, two] = [common(), common()];
      await using a = await GuardedService.with({ ...one, id: "a1" });
      await a.join({ ...two, id: "a2" });
      await using b1 = await standby(one);
      await using b2 = await standby(two);
      await a.child.kill();
      for (const member of [b1, b2]) await eventually(() => expect(member.role).toBe("leader"), patience);
    },
    timeoutMs,
  );

  test(
    "whose guardian is stopped is no worse off, and soon has another",
    async () => {
      const options = common();
      await using a = await GuardedService.with({ ...options, id: "a" });
      await a.leads("a");
      await using b = await standby(options);
      const [first = 0] = a.guardians;
      process.kill(first, "SIGSTOP");
      await a.child.waitFor("warn: the guardian hangs", 60_000);
      await a.guardianAfter(first);
      expect([b.role, a.zombies]).toEqual(["standby", 0]);
      await a.child.kill();
      await eventually(() => expect(b.role).toBe("leader"), patience);
    },
    timeoutMs,
  );

  test(
    "that is killed excuses its successor from takeoverDelayMs",
    async () => {
      const options = { ...common(), takeoverDelayMs: 5_000, ttlSeconds: 5 };
      await using a = await GuardedService.with({ ...options, id: "a" });
      await a.leads("a");
      await using b = await Member.join({ ...options, id: "b" });
      // Its own wait, from its joining, must be over: there is no event for that.
      await new Promise((resolve) => setTimeout(resolve, 6_000));
      await a.child.kill();
      const killedAt = performance.now();
      await eventually(() => expect(b.role).toBe("leader"), patience);
      expect(performance.now() - killedAt).toBeLessThan(2_500);
    },
    timeoutMs,
  );

  test(
    "that dies in an outage gives its place back when that is over",
    async () => {
      await using proxy = await TcpProxy.start({ target: store.endpoint });
      const options = common();
      await using a = await GuardedService.with({ ...options, endpoints: [proxy.endpoint], id: "a" });
      await a.leads("a");
      await using b = await standby(options);
      await proxy.blackHole();
      await a.child.kill();
      await expect(eventually(() => expect(b.role).toBe("leader"), { timeoutMs: 4_000 })).rejects.toThrow();
      proxy.resetAll();
      await proxy.heal();
      await eventually(() => expect(b.role).toBe("leader"), patience);
    },
    timeoutMs,
  );
});

describe.each(realEtcds)("a guarded leader on etcd $version", (binary) => {
  test(
    "under mutual TLS, by files, is replaced at once",
    async () => {
      using authority = new Authority();
      const [client, own] = [authority.issue("client"), authority.issue("server")];
      const tls = { caFile: authority.caFile, ...own, clientCertAuth: true };
      await using etcd = await EtcdServer.start({ binary, tls });
      const options = {
        ...{ endpoints: [etcd.url], election: "/merc" },
        tls: { ca: authority.caFile, cert: client.certFile, key: client.keyFile },
      };
      await using a = await GuardedService.with({ ...options, id: "a" });
      await a.leads("a");
      await using b = await Member.join({ ...options, id: "b", ttlSeconds: longTtlSeconds });
      await a.child.kill();
      await eventually(() => expect(b.role).toBe("leader"), patience);
    },
    timeoutMs,
  );
});

describe.each(realEtcds)("a guarded leader with a password on etcd $version", (binary) => {
  let secured: SecuredEtcd;
  beforeAll(async () => {
    secured = await SecuredEtcd.start({ binary, tokens: "jwt", ttlSeconds: 5 });
    await secured.enable();
  }, timeoutMs);
  afterAll(() => secured?.[Symbol.asyncDispose]());

  test(
    "is replaced at once, long after its guardian's first token has ended",
    async () => {
      const options = {
        ...{ endpoints: [secured.server.endpoint], user: "app", password: appPassword },
        election: "/app/merc",
      };
      await using a = await GuardedService.with({ ...options, id: "a" });
      await a.leads("a");
      await using b = await Member.join({ ...options, id: "b", ttlSeconds: longTtlSeconds });
      // Everybody on the machine may read what a process was started with.
      const [guardian] = a.guardians;
      for (const file of ["cmdline", "environ"])
        expect(readFileSync(`/proc/${guardian}/${file}`, "latin1")).not.toContain(appPassword);
      // Two lives of a token: there is no event to wait for.
      await new Promise((resolve) => setTimeout(resolve, 11_000));
      await a.child.kill();
      await eventually(() => expect(b.role).toBe("leader"), patience);
      expect(a.child.stdout).not.toContain("cannot reach etcd");
    },
    timeoutMs,
  );
});
