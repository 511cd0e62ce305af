import { describe, expect, test } from "vitest";
import { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import { followOverview, type OverviewItem } from "../../src/overview/follow.ts";
import { readHistory } from "../../src/overview/read.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";

const patiently = { timeoutMs: 30_000 };

describe.each(realEtcds)("an election followed through an outage of etcd $version", (binary) => {
  test("is shown as old while it lasts, and as it is afterwards; no term is lost", async () => {
    await using server = await EtcdServer.start({ binary });
    const election = "/away";
    await using a = await Member.join({ endpoints: [server.endpoint], election, id: "a", ttlSeconds: 5 });
    await using etcd = new Etcd({ endpoints: [server.endpoint] });
    const stop = new AbortController();
    const items: OverviewItem[] = [];
    const following = (async () => {
      for await (const item of followOverview(etcd, election, { signal: stop.signal })) items.push(item);
    })().catch(() => {});
    const last = (shown: object): Promise<void> =>
      eventually(() => expect(items.at(-1)).toMatchObject(shown), patiently);
    await last({ at: "current", overview: { leader: { id: "a" } } });
    await server.kill();
    await last({ at: "stale", error: { code: "ETCD_UNAVAILABLE" }, overview: { leader: { id: "a" } } });
    // Long enough for the leader to stop acting.
    await eventually(() => expect(a.role).toBe("standby"), patiently);
    await server.restart();
    await eventually(() => {
      expect(a.role).toBe("leader");
      expect(items.at(-1)).toMatchObject({ at: "current", overview: { leader: { token: a.term?.token } } });
    }, patiently);
    await eventually(async () => {
      const terms = await readHistory(etcd, election);
      expect(terms.map(({ cause }) => cause)).toEqual([undefined, "deadline"]);
    }, patiently);
    stop.abort();
    await following;
  });
});
