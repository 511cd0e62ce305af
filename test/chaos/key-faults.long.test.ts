import { afterAll, beforeAll, describe, test } from "vitest";
import type { EtcdCluster } from "../support/etcd-server.ts";
import type { Actor } from "./actor.ts";
import { type Fault, play } from "./fault.ts";
import { Scene, sceneWithinMs } from "./scene.ts";
import { cast, type Position, stages } from "./stages.ts";

const ttlSeconds = 2;

async function keyOf(scene: Scene, victim: Actor): Promise<{ readonly key: string; readonly lease: bigint }> {
  const own = (await scene.keys()).find(({ id }) => id === victim.id);
  if (own === undefined) throw new Error(`${victim.id} does not stand in the line`);
  return own;
}

/** What an operator can do to keys; the holder goes on until it hears of it. */
const faults: readonly (Fault<undefined> & { readonly position?: Position })[] = [
  {
    name: "lease revoked",
    strike: async (_world, victim, scene) => await scene.etcd.leaseRevoke((await keyOf(scene, victim)).lease),
    excuses: ["lease-gone", "key-gone"],
  },
  {
    name: "key deleted",
    strike: async (_world, victim, scene) => await scene.etcd.delete((await keyOf(scene, victim)).key),
    excuses: ["key-gone"],
  },
  {
    name: "whole prefix deleted",
    strike: (_world, _victim, { etcd, election }) => etcd.delete(`${election}/`, { prefix: true }),
    excuses: ["key-gone"],
  },
  {
    name: "key deleted while its holder is cut off",
    strike: async (_world, victim, scene) => {
      const { key } = await keyOf(scene, victim);
      await Promise.all(victim.proxies.map((proxy) => proxy.blackHole()));
      await scene.etcd.delete(key);
    },
    lastsMs: 3 * ttlSeconds * 1_000,
    heal: (_world, { proxies }) => Promise.all(proxies.map((proxy) => proxy.heal())),
    excuses: ["deadline"],
  },
];

/** With a takeover delay of a TTL there is nothing to excuse, and a TTL more in which nobody leads. */
const delayed = faults.map((fault) => ({
  ...fault,
  excuses: [],
  leaderlessMs: 2 * ttlSeconds * 1_000 + 3_000,
  settlesMs: 2 * ttlSeconds * 1_000 + 5_000,
}));

describe.each(stages)("on %s", (_title, stage) => {
  let cluster: EtcdCluster;
  let elections = 0;
  beforeAll(async () => {
    cluster = await stage.start();
  }, sceneWithinMs);
  afterAll(() => cluster?.close());

  test.each(cast(faults))(
    "%s",
    async (_played, fault, at) => {
      const { endpoints } = cluster;
      await using scene = await Scene.open({ endpoints, election: `/key/${++elections}`, ttlSeconds });
      await play(fault, undefined, scene, scene.actors[at] as Actor);
    },
    sceneWithinMs,
  );

  test.each(cast(delayed))(
    "%s, with takeoverDelayMs: never two",
    async (_played, fault, at) => {
      const { endpoints } = cluster;
      const settings = { takeoverDelayMs: ttlSeconds * 1_000 };
      const election = `/delayed/${++elections}`;
      await using scene = await Scene.open({ endpoints, election, ttlSeconds, settings });
      await play(fault, undefined, scene, scene.actors[at] as Actor);
    },
    sceneWithinMs,
  );
});
