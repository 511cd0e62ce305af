import { afterAll, beforeAll, describe, test } from "vitest";
import type { EtcdCluster } from "../support/etcd-server.ts";
import type { Actor } from "./actor.ts";
import { type Fault, play } from "./fault.ts";
import { Scene, sceneWithinMs } from "./scene.ts";
import { cast, stages } from "./stages.ts";

const password = "the-right-one";
const root = { user: "root", password };

async function enableAuth(cluster: EtcdCluster): Promise<void> {
  await cluster.etcdctl("role", "add", "member");
  for (const range of ["/password/", "_succession/"])
    await cluster.etcdctl("role", "grant-permission", "member", "--prefix=true", "readwrite", range);
  for (const [user, role] of [
    ["root", "root"],
    ["a", "member"],
    ["b", "member"],
    ["c", "member"],
  ] as const) {
    await cluster.etcdctl("user", "add", `${user}:${password}`);
    await cluster.etcdctl("user", "grant-role", user, role);
  }
  await cluster.etcdctl("auth", "enable");
}

async function changePassword({ members }: EtcdCluster, user: string, to: string): Promise<void> {
  const change = members[0]?.startEtcdctl(
    `--user=root:${password}`,
    "user",
    "passwd",
    user,
    "--interactive=false",
  );
  change?.write(`${to}\n`);
  change?.end();
  const ended = await change?.exit;
  if (ended?.code !== 0) throw new Error(`etcdctl user passwd: ${change?.stderr}`);
}

const faults: readonly Fault<EtcdCluster>[] = [
  {
    name: "password changed and changed back",
    strike: (cluster, { id }) => changePassword(cluster, id, "another"),
    lastsMs: 6_000,
    heal: (cluster, { id }) => changePassword(cluster, id, password),
  },
];

describe.each(stages)("on %s with passwords", (_title, stage) => {
  let cluster: EtcdCluster;
  let elections = 0;
  beforeAll(async () => {
    cluster = await stage.start({ extraArgs: ["--auth-token=simple"] });
    await enableAuth(cluster);
  });
  afterAll(() => cluster?.close());

  test.each(cast(faults))(
    "%s",
    async (_played, fault, at) => {
      const { endpoints } = cluster;
      const settingsOf = (id: string): object => ({ user: id, password });
      const election = `/password/${++elections}`;
      await using scene = await Scene.open({
        endpoints,
        election,
        settingsOf,
        credentials: root,
        proxied: false,
      });
      await play(fault, cluster, scene, scene.actors[at] as Actor);
    },
    sceneWithinMs,
  );
});
