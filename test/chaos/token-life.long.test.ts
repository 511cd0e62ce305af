import { describe, expect, test } from "vitest";
import { Member } from "../../src/member/member.ts";
import { eventWith, succession } from "../cli/succession.ts";
import { appPassword, SecuredEtcd } from "../etcd/secured-etcd.ts";
import { collect } from "../member/world.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { eventually } from "../support/eventually.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

const kinds = realEtcds.flatMap((binary) => {
  const jwt = { binary, version: binary.version, tokens: "jwt" } as const;
  // 3.4 cannot be told how long a simple token lives.
  return binary.version === "3.4" ? [jwt] : [jwt, { ...jwt, tokens: "simple" as const }];
});

describe.concurrent("tokens of 5 s", () => {
  test.each(kinds)(
    "a candidate that waited 30 s wins when the leader is killed, on etcd $version with $tokens tokens",
    async ({ binary, tokens }) => {
      await using secured = await SecuredEtcd.start({ binary, tokens, ttlSeconds: 5 });
      await secured.enable();
      await using proxy = await TcpProxy.start({ target: secured.server.endpoint });
      const args = ["elect", "/app/e", "first", "--ttl", "8", "--json", "--user", "app"];
      await using leader = succession([...args, "--endpoints", secured.server.endpoint], {
        env: { SUCCESSION_PASSWORD: appPassword },
      });
      await eventWith(leader, { event: "leader" }, 40_000);
      await using waiter = await Member.join({
        ...{ endpoints: [proxy.endpoint], user: "app", password: appPassword },
        // Each use makes a simple token live on: this one is used every 7 s, so each time it is dead.
        ...{ election: "/app/e", id: "second", ttlSeconds: 21 },
      });
      const changes = collect(waiter);
      // Its time must pass: there is no event to wait for. In the middle of it the watch is lost with its token.
      await new Promise((resolve) => setTimeout(resolve, 16_000));
      proxy.resetAll();
      await new Promise((resolve) => setTimeout(resolve, 14_000));
      expect(waiter.line.map(({ id }) => id)).toEqual(["first", "second"]);
      expect(changes.filter(({ cause }) => cause !== undefined)).toEqual([]);
      await leader.kill();
      await eventually(() => expect(waiter.role).toBe("leader"), { timeoutMs: 40_000 });
    },
    150_000,
  );
});
