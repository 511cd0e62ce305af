import { describe, expect, test } from "vitest";
import { toText } from "../../src/etcd/bytes.ts";
import type { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import { handover } from "../../src/steering/handover.ts";
import { pause, readPause, resume } from "../../src/steering/pause.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { onEveryStore } from "./stores.ts";

async function lineOf(etcd: Etcd, election: string): Promise<string[]> {
  const { kvs } = await etcd.range(`${election}/`, { prefix: true, sort: { by: "create" } });
  return kvs.map((kv) => toText(kv.value));
}

onEveryStore("steering", (store) => {
  const join = async (
    etcd: Etcd,
    election: string,
    all: Readonly<Record<string, Partial<MemberSettings>>>,
  ): Promise<Member[]> => {
    const members: Member[] = [];
    for (const [id, settings] of Object.entries(all)) {
      members.push(await Member.join({ etcd, election, id, ...settings }));
    }
    // A candidate is passed over only when its details show that it comes back.
    await eventually(async () => {
      const folder = `_succession/v1/${encodeURIComponent(election)}/members/`;
      const { count } = await etcd.range(folder, { prefix: true, countOnly: true });
      expect(count).toBe(BigInt(members.length));
    });
    return members;
  };

  test("hands over to whoever is named, past others that come back, with a token that has grown", async () => {
    const etcd = store.client();
    const election = store.key("named");
    const members = await join(etcd, election, { a: {}, b: {}, c: {}, d: {} });
    const done = await handover(etcd, election, { to: "d" });
    expect(done).toMatchObject({ from: { id: "a" }, to: { id: "d" }, passed: ["b", "c"], accepted: true });
    expect(done.to.token).toBeGreaterThan(done.from.token);
    await eventually(async () => {
      const line = await lineOf(etcd, election);
      expect([line[0], line.toSorted()]).toEqual(["d", ["a", "b", "c", "d"]]);
      expect(members.map(({ role }) => role)).toEqual(["standby", "standby", "standby", "leader"]);
    });
    const meta = await etcd.range(`_succession/v1/${encodeURIComponent(election)}/requests/`, {
      prefix: true,
    });
    expect(meta.kvs).toEqual([]);
    await Promise.all(members.map((member) => member.leave()));
  });

  test("refuses while paused, and puts the highest priority first afterwards", async () => {
    const etcd = store.client();
    const election = store.key("paused");
    await pause(etcd, election, { reason: "upgrade", forMs: 60_000, by: "Ann" });
    const members = await join(etcd, election, { a: {}, b: { priority: 10 }, c: { priority: 200 } });
    await expect(handover(etcd, election)).rejects.toMatchObject({
      code: "REFUSED",
      message: expect.stringMatching(/^changes of leader are paused: "upgrade", since .*, by Ann$/),
    });
    expect(await lineOf(etcd, election)).toEqual(["a", "b", "c"]);
    expect(await resume(etcd, election)).toMatchObject({ reason: "upgrade" });
    expect(await readPause(etcd, election)).toBeUndefined();
    await eventually(async () => expect(await lineOf(etcd, election)).toEqual(["a", "c", "b"]));
    expect((await handover(etcd, election)).to.id).toBe("c");
    await Promise.all(members.map((member) => member.leave()));
  });

  test("a pause goes with its lease", async () => {
    const etcd = store.client();
    const election = store.key("lease");
    const { remainingMs = 0 } = await pause(etcd, election, { reason: "short", forMs: 1_000 });
    expect(remainingMs).toBeLessThan(5_000);
    await eventually(async () => expect(await readPause(etcd, election)).toBeUndefined());
  });
});

describe.each(realEtcds)("steering on etcd $version", (binary) => {
  test("leaves etcdctl's candidates alone, and may have one lead", async () => {
    await using server = await EtcdServer.start({ binary });
    const election = "/mix";
    const a = await Member.join({ endpoints: [server.endpoint], election, id: "a" });
    const stranger = server.startEtcdctl("elect", election, "go");
    await eventually(() => expect(a.line).toHaveLength(2));
    const b = await Member.join({ endpoints: [server.endpoint], election, id: "b" });
    await eventually(() => expect(a.line).toHaveLength(3));
    await expect(a.handover({ to: "b" })).rejects.toMatchObject({
      code: "REFUSED",
      message: expect.stringContaining('"go" would have to be passed over'),
    });
    expect((await a.handover({ to: "go" })).to.id).toBe("go");
    await stranger.waitFor("go", 5_000);
    await expect(b.handover({ to: "b" })).rejects.toThrow(/"go" leads, and cannot be asked/);
    stranger.signal("SIGINT");
    await eventually(() => expect(b.role).toBe("leader"));
    await Promise.all([a.leave(), b.leave()]);
  });

  test("needs rights to _succession, and without them says so once and hurts nobody", async () => {
    await using server = await EtcdServer.start({ binary });
    await server.etcdctl("user", "add", "root:secret");
    await server.etcdctl("user", "grant-role", "root", "root");
    await server.etcdctl("role", "add", "merc");
    await server.etcdctl("role", "grant-permission", "merc", "readwrite", "/merc/", "/merc0");
    await server.etcdctl("user", "add", "m:secret");
    await server.etcdctl("user", "grant-role", "m", "merc");
    await server.etcdctl("user", "add", "s:secret");
    await server.etcdctl("user", "grant-role", "s", "merc");
    await server.etcdctl("role", "add", "meta");
    const range = ["_succession/v1/%2Fmerc/", "_succession/v1/%2Fmerc0"];
    await server.etcdctl("role", "grant-permission", "meta", "readwrite", ...range);
    await server.etcdctl("user", "grant-role", "s", "meta");
    await server.etcdctl("auth", "enable");
    const said: string[] = [];
    const warn = (_fields: object, message: string): void => {
      said.push(message);
    };
    const quiet = (): void => {};
    const logger = { debug: quiet, info: quiet, warn, error: quiet };
    const with_ = (user: string, id: string): Promise<Member> =>
      Member.join({ endpoints: [server.endpoint], election: "/merc", id, user, password: "secret", logger });
    const poor = await with_("m", "poor");
    const rich = await with_("s", "rich");
    await eventually(() => expect(said.filter((each) => each.includes("cannot be steered"))).toHaveLength(1));
    await expect(poor.handover()).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(rich.handover()).rejects.toThrow(/"poor" leads, and cannot be asked/);
    await poor.leave();
    await eventually(() => expect(rich.role).toBe("leader"));
    const other = await with_("s", "other");
    await eventually(() => expect(rich.line).toHaveLength(2));
    expect((await other.handover()).to.id).toBe("other");
    await Promise.all([rich.leave(), other.leave()]);
  });
});
