import { afterAll, beforeAll, describe, test } from "vitest";
import type { EtcdCluster } from "../support/etcd-server.ts";
import type { TcpProxy } from "../support/tcp-proxy.ts";
import type { Actor } from "./actor.ts";
import { type Fault, play } from "./fault.ts";
import { Scene, sceneWithinMs } from "./scene.ts";
import { cast, type Position, stages } from "./stages.ts";

/** Three TTLs. */
const longMs = 6_000;

const heal = (_world: undefined, { proxies }: Actor): Promise<unknown> =>
  Promise.all(proxies.map((proxy) => proxy.heal()));

/** The way to etcd that the process uses now. */
const inUse = ({ proxies }: Actor): TcpProxy | undefined =>
  [...proxies].sort((a, b) => b.openConnections - a.openConnections)[0];

/** What can happen between the process of a member and etcd. */
const faults: readonly (Fault<undefined> & { readonly position?: Position })[] = [
  {
    name: "cut off, connections kept and accepted",
    strike: (_world, { proxies }) => Promise.all(proxies.map((proxy) => proxy.blackHole())),
    lastsMs: longMs,
    heal,
  },
  {
    name: "cut off, connection requests unanswered",
    strike: (_world, { proxies }) => Promise.all(proxies.map((proxy) => proxy.blackHole({ accept: false }))),
    lastsMs: longMs,
    heal: async (_world, victim) => {
      for (const proxy of victim.proxies) proxy.resetAll();
      await heal(undefined, victim);
    },
  },
  {
    name: "half-open, only requests pass",
    strike: (_world, { proxies }) => {
      for (const proxy of proxies) proxy.halfOpen("toServer");
    },
    lastsMs: longMs,
    heal,
  },
  {
    name: "half-open, only answers pass",
    strike: (_world, { proxies }) => {
      for (const proxy of proxies) proxy.halfOpen("toClient");
    },
    lastsMs: longMs,
    heal,
  },
  {
    name: "the endpoint in use accepts and says nothing",
    strike: (_world, victim) => inUse(victim)?.blackHole(),
    lastsMs: longMs,
    heal,
  },
  {
    name: "history compacted while the watch is cut",
    position: "first waiter",
    strike: async (_world, { proxies }, { etcd, election }) => {
      await Promise.all(proxies.map((proxy) => proxy.refuse()));
      for (const proxy of proxies) proxy.resetAll();
      let revision = 0n;
      for (let count = 0; count < 50; count++)
        revision = (await etcd.put(`/beside${election}`, `${count}`)).header?.revision ?? 0n;
      await etcd.compact(revision);
    },
    heal,
  },
];

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
      await using scene = await Scene.open({ endpoints, election: `/network/${++elections}` });
      await play(fault, undefined, scene, scene.actors[at] as Actor);
    },
    sceneWithinMs,
  );
});
