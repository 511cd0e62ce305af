import { describe, expect, test } from "vitest";
import { overlaps } from "../../src/testing/ledger.ts";
import { eventually } from "../support/eventually.ts";
import { type Actor, now } from "./actor.ts";
import { say, told } from "./fault.ts";
import { Scene } from "./scene.ts";
import { roundsOr, stages } from "./stages.ts";

const rounds = roundsOr(4);
const ttlMs = 2_000;
/** From the network's return to the place in line. */
const backMs = 2_000;

/** Cuts the leader off, waits for its successor, and heals; alternately the connections survive or not. */
async function round(scene: Scene, keepsConnections: boolean): Promise<{ backMs: number; gapMs: number }> {
  const old = scene.leader as Actor;
  await Promise.all(old.proxies.map((proxy) => proxy.blackHole({ accept: keepsConnections })));
  const successor = await eventually(
    () => {
      const { leader } = scene;
      expect(leader).toBeDefined();
      expect(leader).not.toBe(old);
      return leader as Actor;
    },
    { timeoutMs: ttlMs + 3_000 },
  );
  if (!keepsConnections) for (const proxy of old.proxies) proxy.resetAll();
  await Promise.all(old.proxies.map((proxy) => proxy.heal()));
  const healedAt = now();
  await eventually(async () => expect(await scene.line()).toContain(old.id), { everyMs: 10 });
  const back = now() - healedAt;
  const gapMs = (successor.spells.at(-1)?.start ?? 0) - (old.spells.at(-1)?.end ?? 0);
  await scene.settled(ttlMs + 5_000);
  return { backMs: back, gapMs };
}

describe.each(stages.slice(0, 1))("on %s", (_title, stage) => {
  test(
    `a leader cut off ${rounds} times stops before its successor starts, and is back in line within 2 s`,
    async () => {
      await using cluster = await stage.start();
      await using scene = await Scene.open({ endpoints: cluster.endpoints, election: "/cut-off" });
      const played: { backMs: number; gapMs: number }[] = [];
      for (let count = 0; count < rounds; count++) played.push(await round(scene, count % 2 === 0));
      const backs = played.map((each) => each.backMs).sort((a, b) => a - b);
      const gaps = played.map((each) => each.gapMs).sort((a, b) => a - b);
      say(
        `cut off ${rounds} times: overlaps ${overlaps(scene.spells).length}; ` +
          `from the old one's last act to the new one's first ${gaps[0]?.toFixed(0)} to ${gaps.at(-1)?.toFixed(0)} ms; ` +
          `back in line after ${backs[Math.floor(rounds / 2)]?.toFixed(0)} ms in the median, ${backs.at(-1)?.toFixed(0)} at most`,
      );
      expect(overlaps(scene.spells), told(scene)).toEqual([]);
      expect(gaps[0]).toBeGreaterThan(0);
      expect(backs.at(-1), told(scene)).toBeLessThan(backMs);
    },
    60_000 + rounds * 20_000,
  );
});
