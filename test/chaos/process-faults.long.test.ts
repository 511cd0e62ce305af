import { afterAll, beforeAll, describe, test } from "vitest";
import type { EtcdCluster } from "../support/etcd-server.ts";
import type { Actor, ActorSettings } from "./actor.ts";
import { type Fault, play } from "./fault.ts";
import { Scene, sceneWithinMs } from "./scene.ts";
import { cast, type Position, stages } from "./stages.ts";

/** Three TTLs. */
const longMs = 6_000;
/** Less than a TTL, which is how long a thread may give no sign of life. */
const shortMs = 1_500;

/** A fault and the settings of the members that it is made to. */
type ProcessFault = Fault<undefined> & {
  readonly position?: Position;
  readonly settings?: Partial<ActorSettings>;
};

/** What can happen to the process of a member. */
const faults: readonly ProcessFault[] = [
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
  {
    name: "event loop blocked for less than a TTL",
    strike: (_world, victim) => victim.block(shortMs),
    lastsMs: shortMs,
    costsNoLead: true,
  },
  {
    name: "event loop blocked for three TTLs without the renewal thread",
    settings: { worker: false },
    strike: (_world, victim) => victim.block(longMs),
    lastsMs: longMs,
  },
  {
    name: 'hung and acting on, with onHang "kill"',
    settings: { onHang: "kill" },
    strike: (_world, victim) => victim.hang(10 * longMs),
    heal: async (_world, victim) => {
      await victim.ended(longMs);
      await victim.restart();
    },
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
      const { settings = {} } = fault;
      const election = `/process/${++elections}`;
      await using scene = await Scene.open({ endpoints, election, settings, proxied: false });
      await play(fault, undefined, scene, scene.actors[at] as Actor);
    },
    sceneWithinMs,
  );
});
