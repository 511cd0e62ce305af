import { afterAll, beforeAll, describe, test } from "vitest";
import type { EtcdCluster, EtcdServer } from "../support/etcd-server.ts";
import type { Actor } from "./actor.ts";
import { type Fault, play } from "./fault.ts";
import { Scene, sceneWithinMs } from "./scene.ts";
import { Snapshot } from "./snapshot.ts";
import { stages } from "./stages.ts";

const ttlMs = 2_000;

/** etcd, and what has to be kept from one step of a fault to the next. */
interface Store {
  readonly cluster: EtcdCluster;
  victims?: readonly EtcdServer[];
  snapshot?: Snapshot;
}

const restart = async ({ victims = [] }: Store): Promise<void> => {
  await Promise.all(victims.map((victim) => victim.restart()));
};

/** What strikes a raft leader: nothing, where there is no other member. */
const ofRaftLeader: readonly Fault<Store>[] = [
  {
    name: "raft leader killed",
    strike: async (store) => {
      const victim = await store.cluster.leader();
      store.victims = [victim];
      await victim.kill();
    },
    lastsMs: 2 * ttlMs,
    leaderlessMs: 2 * ttlMs + 3_000,
    heal: restart,
  },
  {
    name: "raft leader stopped",
    strike: async (store) => {
      const victim = await store.cluster.leader();
      store.victims = [victim];
      await victim.stop();
    },
    lastsMs: 4 * ttlMs,
    leaderlessMs: 2 * ttlMs + 3_000,
    heal: ({ victims = [] }) => {
      for (const victim of victims) victim.cont();
    },
    // When it goes on it may revoke leases that were kept alive at its successor.
    excuses: ["lease-gone", "key-gone"],
  },
];

const restored = (sameId: boolean): Fault<Store> => ({
  name: `restored from an older snapshot, as ${sameId ? "the same" : "another"} cluster`,
  // In the snapshot a leader stands first that has since lost its key.
  prepare: async (store, _victim, scene) => {
    store.snapshot = await Snapshot.save(store.cluster);
    const [first] = await scene.keys();
    if (first !== undefined) await scene.etcd.delete(first.key);
    await scene.settled(ttlMs + 5_000);
  },
  strike: async ({ cluster, snapshot }) => await snapshot?.restore(cluster, { sameId }),
  silencesEtcd: true,
  leaderlessMs: 2 * ttlMs + 3_000,
  settlesMs: 2 * ttlMs + 5_000,
  excuses: ["lease-gone", "key-gone", "store-restored"],
  restores: true,
});

const ofStore: readonly Fault<Store>[] = [
  {
    name: "quorum lost and back",
    strike: async (store) => {
      const { members } = store.cluster;
      store.victims = members.slice(Math.floor((members.length - 1) / 2));
      await Promise.all(store.victims.map((victim) => victim.kill()));
    },
    lastsMs: 2 * ttlMs,
    silencesEtcd: true,
    heal: restart,
  },
  {
    name: "every member restarted in turn with its data",
    strike: async ({ cluster: { members } }) => {
      for (const member of members) await member.restart();
    },
    silencesEtcd: true,
  },
  restored(true),
  restored(false),
];

describe.each(stages)("on %s", (_title, stage) => {
  let cluster: EtcdCluster;
  let elections = 0;
  beforeAll(async () => {
    cluster = await stage.start();
  });
  afterAll(() => cluster?.close());

  test.each(
    [...(stage.members > 1 ? ofRaftLeader : []), ...ofStore].map((fault) => [fault.name, fault] as const),
  )(
    "%s",
    async (_name, fault) => {
      const { endpoints } = cluster;
      await using scene = await Scene.open({ endpoints, election: `/store/${++elections}`, proxied: false });
      await play(fault, { cluster }, scene, scene.actors[0] as Actor);
    },
    sceneWithinMs,
  );
});
