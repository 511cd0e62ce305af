import { afterAll, beforeAll, describe, test } from "vitest";
import { realEtcds } from "../support/etcd-binaries.ts";
import type { Actor } from "./actor.ts";
import { type Fault, play, say } from "./fault.ts";
import { Namespaces, whyNoNamespaces } from "./namespaces.ts";
import { ids, Scene, sceneWithinMs } from "./scene.ts";
import { cast, type Position } from "./stages.ts";

/** Three TTLs. */
const longMs = 6_000;

const why = whyNoNamespaces();
if (why !== undefined) say(`\n*** NO NETWORK NAMESPACES HERE: cuts by the kernel are not tested (${why})\n`);

/** What the kernel can do to the packets between a member and etcd. */
const faults: readonly (Fault<Namespaces> & { readonly position?: Position })[] = [
  {
    name: "link down",
    strike: (namespaces, { id }) => namespaces.link(id, "down"),
    lastsMs: longMs,
    heal: (namespaces, { id }) => namespaces.link(id, "up"),
  },
  ...(["to etcd", "from etcd"] as const).map((packets) => ({
    name: `packets ${packets} lost`,
    strike: (namespaces: Namespaces, { id }: Actor) => namespaces.blackHole(id, packets, "add"),
    lastsMs: longMs,
    heal: (namespaces: Namespaces, { id }: Actor) => namespaces.blackHole(id, packets, "del"),
  })),
];

const binaries = why === undefined ? realEtcds.map((binary) => [binary.version, binary] as const) : [];

describe.skipIf(binaries.length === 0).each(binaries)("in namespaces, on etcd %s", (_version, binary) => {
  let namespaces: Namespaces;
  let elections = 0;
  beforeAll(async () => {
    namespaces = await Namespaces.open(binary, ids);
  });
  afterAll(() => namespaces?.close());

  test.each(cast(faults))(
    "%s",
    async (_played, fault, at) => {
      const placeOf = (id: string): ReturnType<Namespaces["placeOf"]> => namespaces.placeOf(id);
      const endpoints = [namespaces.endpoint];
      const election = `/namespaces/${++elections}`;
      await using scene = await Scene.open({ endpoints, election, placeOf, proxied: false });
      await play(fault, namespaces, scene, scene.actors[at] as Actor);
    },
    sceneWithinMs,
  );
});
