import { setTimeout } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { overlaps } from "../../src/testing/ledger.ts";
import type { EtcdCluster } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { type Actor, now } from "./actor.ts";
import { say, told } from "./fault.ts";
import { Scene } from "./scene.ts";
import { roundsOr, stages } from "./stages.ts";

const rounds = roundsOr(2);
const ttlMs = 2_000;

/** A new raft leader gives every lease its TTL again and the election timeout on top of it. */
const electionMs = 1_000;
/** After the members of etcd have elected a raft leader again. */
const ledWithinMs = { lives: 2_000, killed: ttlMs + 1_000 + electionMs } as const;

/** All of etcd is away for two TTLs. Returns how long after its return, election included, somebody leads. */
async function outage(cluster: EtcdCluster, scene: Scene, old: keyof typeof ledWithinMs): Promise<number> {
  await Promise.all(cluster.members.map((member) => member.kill()));
  const leader = scene.leader as Actor;
  if (old === "killed") await leader.kill();
  await setTimeout(2 * ttlMs);
  await Promise.all(cluster.members.map((member) => member.restart({ ready: false })));
  await cluster.leader();
  const returnedAt = now();
  const { start } = await eventually(
    () => {
      const spell = scene.spells.find((each) => each.end > returnedAt);
      expect(spell).toBeDefined();
      return spell as NonNullable<typeof spell>;
    },
    { timeoutMs: ledWithinMs[old] + 5_000 },
  );
  await scene.settled(ttlMs + 5_000);
  if (old === "killed") {
    await leader.restart();
    await scene.settled(ttlMs + 5_000);
  }
  return start - returnedAt;
}

describe.each(stages)("on %s", (_title, stage) => {
  test.each([
    ["2 s after its return where the old leader lives", "lives"],
    ["the TTL, an election timeout and 1 s after its return where the old leader is gone", "killed"],
  ] as const)(
    `after all of etcd was away ${rounds} times exactly one leads, %s`,
    async (title, old) => {
      await using cluster = await stage.start();
      const { endpoints } = cluster;
      await using scene = await Scene.open({ endpoints, election: "/outage", proxied: false });
      const took: number[] = [];
      for (let count = 0; count < rounds; count++) took.push(await outage(cluster, scene, old));
      const found = overlaps(scene.spells);
      say(
        `etcd away ${rounds} times: overlaps ${found.length}; ` +
          `led after at most ${Math.max(...took).toFixed(0)} ms (bound: ${title})`,
      );
      expect(found, told(scene)).toEqual([]);
      expect(Math.max(...took), told(scene)).toBeLessThan(ledWithinMs[old]);
    },
    60_000 + rounds * 30_000,
  );
});
