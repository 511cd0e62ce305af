import { existsSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { realEtcds } from "./etcd-binaries.ts";
import { EtcdCluster, EtcdServer } from "./etcd-server.ts";
import { tiedProcessIds } from "./tied-process.ts";

const open: (EtcdServer | EtcdCluster)[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()));
});

describe.each(realEtcds)("etcd $version", (binary) => {
  test("a server answers, keeps its data over a kill and leaves nothing behind", async () => {
    const server = await EtcdServer.start({ binary, electionTimeoutMs: 100 });
    open.push(server);
    await server.etcdctl("put", "k", "v");
    await server.kill();
    await expect(
      server.etcdctl("--dial-timeout=200ms", "--command-timeout=300ms", "get", "k"),
    ).rejects.toThrow("etcdctl");
    await server.restart();
    expect(await server.etcdctl("get", "k")).toBe("k\nv");
    const { pid, dataDir } = server;
    await server.close();
    expect(existsSync(dataDir)).toBe(false);
    expect(tiedProcessIds()).not.toContain(pid);
  });

  test("a stopped server is silent and goes on where it was", async () => {
    const server = await EtcdServer.start({ binary, electionTimeoutMs: 100 });
    open.push(server);
    await server.stop();
    await expect(server.etcdctl("--command-timeout=300ms", "put", "k", "v")).rejects.toThrow(
      "deadline exceeded",
    );
    server.cont();
    await server.etcdctl("put", "k", "later");
    expect(await server.etcdctl("get", "k", "--print-value-only")).toBe("later");
  });

  test("a cluster elects another leader when its leader is killed, and takes it back", async () => {
    const cluster = await EtcdCluster.start({ binary, electionTimeoutMs: 200 });
    open.push(cluster);
    const first = await cluster.leader();
    await first.kill();
    const second = await cluster.leader();
    expect(second).not.toBe(first);
    await second.etcdctl("put", "k", "v");
    await first.restart();
    expect(await first.etcdctl("get", "k", "--print-value-only")).toBe("v");
    expect(await cluster.leader()).toBe(second);
  });
});

test.runIf(realEtcds.length > 0)("says in its error why a server does not start", async () => {
  const binary = realEtcds[0] as (typeof realEtcds)[number];
  await expect(EtcdServer.start({ binary, extraArgs: ["--no-such-flag"] })).rejects.toThrow("no-such-flag");
});
