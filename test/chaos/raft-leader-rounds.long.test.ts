import { setTimeout } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { overlaps } from "../../src/testing/ledger.ts";
import { now } from "./actor.ts";
import { say, told } from "./fault.ts";
import { Scene } from "./scene.ts";
import { roundsOr, stages } from "./stages.ts";
import { longestGap } from "./verdict.ts";

const rounds = roundsOr(3);
const shortTtlSeconds = 2;
const longTtlSeconds = 5;
/** Nobody leads for longer than two short TTLs. */
const leaderlessMs = 2 * shortTtlSeconds * 1_000;

// Of one member there is no raft leader to lose: that is an outage.
describe.each(stages.filter(([, { members }]) => members === 3))("on %s", (_title, stage) => {
  test(
    `the raft leader killed ${rounds} times costs no lead at a TTL of 5 s, and never makes two at 2 s`,
    async () => {
      await using cluster = await stage.start();
      const { endpoints } = cluster;
      const open = (ttlSeconds: number): Promise<Scene> =>
        Scene.open({ endpoints, election: `/raft/${ttlSeconds}`, ttlSeconds, proxied: false });
      await using short = await open(shortTtlSeconds);
      await using long = await open(longTtlSeconds);
      const gaps: number[] = [];
      for (let count = 0; count < rounds; count++) {
        const victim = await cluster.leader();
        const from = now();
        await victim.kill();
        await setTimeout(leaderlessMs + 500);
        gaps.push(longestGap(short.spells, from, now()));
        // Long enough for a lost lead to show.
        await victim.restart();
        await short.settled(shortTtlSeconds * 1_000 + 5_000);
        await long.settled(longTtlSeconds * 1_000 + 5_000);
      }
      const changes = (scene: Scene): number => scene.spells.length - 1;
      say(
        `raft leader killed ${rounds} times: TTL 5 s: ${changes(long)} changes of leader; ` +
          `TTL 2 s: ${changes(short)} changes, ${overlaps(short.spells).length} overlaps, ` +
          `leaderless ${Math.max(...gaps).toFixed(0)} ms at most`,
      );
      expect(changes(long), told(long)).toBe(0);
      expect(overlaps(short.spells), told(short)).toEqual([]);
      expect(Math.max(...gaps), told(short)).toBeLessThan(leaderlessMs);
    },
    60_000 + rounds * 30_000,
  );
});
