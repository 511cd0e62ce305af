import { describe, expect, test } from "vitest";
import { Member } from "../../src/member/member.ts";
import { collect, notebook } from "../member/world.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { eventually } from "../support/eventually.ts";
import { appPassword, SecuredEtcd } from "./secured-etcd.ts";

const kinds = realEtcds.flatMap((binary) =>
  (["simple", "jwt"] as const).map((tokens) => ({ binary, version: binary.version, tokens })),
);
const patience = { timeoutMs: 40_000 };
/** Longer than a busy machine stalls: what is lost then is lost for the reason under test. */
const ttlSeconds = 12;

describe.concurrent("running members", () => {
  test.each(kinds)(
    "live through changes of users, rights, passwords and authentication, on etcd $version with $tokens tokens",
    async ({ binary, tokens }) => {
      await using secured = await SecuredEtcd.start({ binary, tokens });
      const { server } = secured;
      const { logger, said } = notebook();
      const common = { endpoints: [server.endpoint], ttlSeconds, logger };
      const app = { ...common, user: "app", password: appPassword, election: "/app/e" };
      await using first = await Member.join({ ...app, id: "first" });
      await using second = await Member.join({ ...app, id: "second" });
      await using anonymous = await Member.join({
        ...common,
        ttlSeconds: 3,
        election: "/open",
        id: "anonymous",
      });
      const changes = [collect(first), collect(second)];
      await eventually(() => expect([first.role, anonymous.role]).toEqual(["leader", "leader"]), patience);
      const token = first.term?.token;

      // Authentication begins, and users come: one who has a password notices nothing.
      await secured.enable();
      for (let at = 0; at < 12; at++) {
        await secured.asRoot("user", "add", `user${at}:x`);
        // Over two renewals and more.
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      expect(changes.flatMap((each) => each.filter(({ cause }) => cause !== undefined))).toEqual([]);
      expect(first.term?.token).toBe(token);
      // One who has none loses the lead.
      await eventually(() => expect(anonymous.role).toBe("standby"), patience);

      // It is back when nobody asks for a password any more; the others go on.
      await secured.asRoot("auth", "disable");
      await eventually(() => expect(anonymous.role).toBe("leader"), patience);
      expect(first.term?.token).toBe(token);
      await secured.enable();

      // What takes the lead away is waited for, so with a short TTL.
      await Promise.all([first.leave(), second.leave()]);
      await using third = await Member.join({ ...app, id: "third", ttlSeconds: 3 });
      await using fourth = await Member.join({ ...app, id: "fourth", ttlSeconds: 3 });
      const roles = (): string[] => [third.role, fourth.role].sort();
      const allWell = (): void => {
        expect(roles()).toEqual(["leader", "standby"]);
        for (const { line } of [third, fourth]) expect(line).toHaveLength(2);
      };
      await eventually(allWell, patience);
      await secured.revoke();
      await eventually(() => expect(roles()).toEqual(["standby", "standby"]), patience);
      const named = (): void =>
        expect(said.some(({ fields }) => String(fields["error"]).includes("[/app/e/, /app/e0)"))).toBe(true);
      await eventually(named, patience);
      await secured.grant();
      await eventually(allWell, patience);

      await secured.changePassword("another");
      await eventually(() => expect(roles()).toEqual(["standby", "standby"]), patience);
      await secured.changePassword(appPassword);
      await eventually(allWell, patience);

      await server.restart();
      await eventually(allWell, patience);
    },
    240_000,
  );
});
