import { afterAll, beforeAll, describe, test } from "vitest";
import type { EtcdCluster } from "../support/etcd-server.ts";
import type { Actor } from "./actor.ts";
import { type Fault, play } from "./fault.ts";
import { Scene } from "./scene.ts";
import { cast, type Position, stages } from "./stages.ts";

/** Three TTLs. */
const longMs = 6_000;

/** What can happen to the process of a member. */
const faults: readonly (Fault<undefined> & { readonly position?: Position })[] = [
  {
    name: "SIGKILL",
    strike: (_world, victim) => victim.kill(),
    heal: (_world, victim) => victim.restart(),
    lastsMs: longMs,
  },
  {
    name: "SIGSTOP for three TTLs",
    strike: (_world, victim) => victim.stop(),
    heal: (_world, victim) => victim.cont(),
    lastsMs: longMs,
  },
  {
    name: "event loop blocked for three TTLs",
    strike: (_world, victim) => victim.block(longMs),
    lastsMs: longMs,
  },
];

describe.each(stages)("on %s", (_title, stage) => {
  let cluster: EtcdCluster;
  let elections = 0;
  beforeAll(async () => {
    cluster = await stage.start();
  });
  afterAll(() => cluster?.close());

  test.each(cast(faults))("%s", async (_played, fault, at) => {
    const { endpoints } = cluster;
    await using scene = await Scene.open({ endpoints, election: `/process/${++elections}`, proxied: false });
    await play(fault, undefined, scene, scene.actors[at] as Actor);
  });
});
