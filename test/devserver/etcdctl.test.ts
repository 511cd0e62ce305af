import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { AlarmRequest_AlarmAction, AlarmType } from "../../src/etcd/gen/etcd_pb.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";

const withinMs = 10_000;
const run = promisify(execFile);
// Settings from the environment would get in the way of the flags.
const settings = Object.entries(process.env).filter(([name]) => !name.startsWith("ETCDCTL_"));
const env = { ...Object.fromEntries(settings), ETCDCTL_API: "3" };

describe.each(realEtcds)("etcdctl $version works with the development server", ({ etcdctl }) => {
  let server: DevServer;
  beforeAll(async () => {
    server = await DevServer.start();
  });
  afterAll(() => server.close());

  const args = (...more: string[]): string[] => ["--endpoints", server.endpoint, ...more];
  const say = async (...more: string[]): Promise<string> => {
    const { stdout, stderr } = await run(etcdctl, args(...more), { env, timeout: withinMs });
    return `${stdout}${stderr}`.trim();
  };
  const start = (...more: string[]): Child =>
    Child.start({ command: etcdctl, args: args(...more), env, keepInputOpen: true });

  test("put, get and del", async () => {
    expect(await say("put", "a/1", "one")).toBe("OK");
    expect(await say("put", "a/2", "two", "--prev-kv")).toBe("OK");
    expect(await say("get", "a/", "--prefix")).toBe("a/1\none\na/2\ntwo");
    expect(await say("get", "", "--from-key", "--keys-only", "--limit=1")).toBe("a/1");
    expect(await say("del", "a/", "--prefix")).toBe("2");
  });

  test("txn and compaction", async () => {
    const child = start("txn");
    child.write('version("t") = "0"\n\nput t one\nget t\n\nget t\n\n');
    await child.waitFor("one", withinMs);
    expect(child.lines[0]).toBe("SUCCESS");
    await child.kill();
    await say("put", "t", "two");
    const revision = String(server.store.revision);
    expect(await say("compaction", revision)).toBe(`compacted revision ${revision}`);
    await expect(say("get", "t", "--rev=1")).rejects.toThrow("required revision has been compacted");
    await expect(say("watch", "t", "--rev=1")).rejects.toThrow("required revision has been compacted");
  });

  test("watch", async () => {
    await say("put", "w/1", "one");
    const child = start("watch", "w/", "--prefix", "--prev-kv", `--rev=${server.store.revision}`);
    await child.waitFor("one", withinMs);
    await say("del", "w/1");
    await child.waitFor("DELETE", withinMs);
    await child.kill();
  });

  test("leases", async () => {
    const granted = await say("lease", "grant", "60");
    const id = /lease ([0-9a-f]+) granted with TTL\(60s\)/.exec(granted)?.[1] as string;
    await say("put", "l/1", "one", `--lease=${id}`);
    expect(await say("lease", "timetolive", id, "--keys")).toMatch(
      /granted with TTL\(60s\), remaining\((59|60)s\), attached keys\(\[l\/1\]\)/,
    );
    expect(await say("lease", "list")).toContain(id);
    expect(await say("lease", "keep-alive", id, "--once")).toBe(`lease ${id} keepalived with TTL(60)`);
    expect(await say("lease", "revoke", id)).toBe(`lease ${id} revoked`);
    expect(await say("get", "l/1")).toBe("");
    await expect(say("lease", "revoke", id)).rejects.toThrow("requested lease not found");
    expect(await say("lease", "timetolive", id)).toBe(`lease ${id} already expired`);
  });

  test("elect takes over from one that resigns, and is listened to", async () => {
    const listener = start("elect", "--listen", "e");
    const first = start("elect", "e", "one");
    await first.waitFor("one", withinMs);
    await listener.waitFor("one", withinMs);
    const second = start("elect", "e", "two");
    await eventually(async () => expect((await say("get", "e/", "--prefix")).split("\n")).toHaveLength(4));
    first.signal("SIGTERM");
    await second.waitFor("two", withinMs);
    await listener.waitFor("two", withinMs);
    await Promise.all([listener.kill(), second.kill(), first.kill()]);
  });

  test("lock excludes others", async () => {
    const first = start("lock", "m");
    await first.waitFor(/^m\//, withinMs);
    const second = start("lock", "m");
    await eventually(async () =>
      expect((await say("get", "m/", "--prefix", "--keys-only")).match(/m\//g)).toHaveLength(2),
    );
    expect(second.lines).toEqual([]);
    first.signal("SIGTERM");
    await second.waitFor(/^m\//, withinMs);
    await Promise.all([first.kill(), second.kill()]);
  });

  test("endpoint, member and alarm", async () => {
    expect(await say("endpoint", "health")).toContain("is healthy");
    expect(await say("endpoint", "status")).toContain("3.5.16-succession-dev");
    expect(await say("member", "list")).toContain(`http://${server.endpoint}`);
    expect(await say("alarm", "list")).toBe("");
    const { memberId } = server.store;
    server.store.alarm({ action: AlarmRequest_AlarmAction.ACTIVATE, memberId, alarm: AlarmType.NOSPACE });
    expect(await say("alarm", "list")).toContain("alarm:NOSPACE");
    await expect(say("put", "a", "b")).rejects.toThrow("database space exceeded");
    expect(await say("alarm", "disarm")).toContain("alarm:NOSPACE");
    expect(await say("put", "a", "b")).toBe("OK");
  });
});

test.skipIf(realEtcds.length === 0)("there is an etcdctl to try", () => {
  expect(realEtcds).not.toHaveLength(0);
});
