import { setTimeout } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { SuccessionError } from "../../src/errors.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { EtcdError } from "../../src/etcd/failure.ts";
import { readHistory, readOverview } from "../../src/overview/read.ts";
import { handover } from "../../src/steering/handover.ts";
import { pause, resume } from "../../src/steering/pause.ts";
import { eventually } from "../support/eventually.ts";
import { type Actor, now } from "./actor.ts";
import { say, told } from "./fault.ts";
import { Scene } from "./scene.ts";
import { isFull, stages } from "./stages.ts";
import { judge } from "./verdict.ts";

const seconds = isFull ? 600 : 25;
const election = "/steered";
const priorities: Readonly<Record<string, number>> = { a: 100, b: 150, c: 100, d: 200, e: 50 };
const who = Object.keys(priorities);
/** As many terms as history keeps. */
const mostTerms = 200;
/** Whoever has made room again and again does so more and more slowly, up to half a minute. */
const atRestWithinMs = 90_000;

/** What a client that steers may hear: no, or not in time, or nothing of etcd. */
function isExpected(error: unknown): boolean {
  return (
    error instanceof EtcdError || (error instanceof SuccessionError && /REFUSED|TIMEOUT/.test(error.code))
  );
}

const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)] as T;

/** Hands over, to somebody or to the next, and sometimes pauses, until told to stop. Counts what came of it. */
async function steer(
  endpoints: readonly string[],
  until: number,
  done: Record<string, number>,
): Promise<void> {
  await using etcd = new Etcd({ endpoints });
  const count = (what: string): void => {
    done[what] = (done[what] ?? 0) + 1;
  };
  while (now() < until) {
    try {
      if (Math.random() < 0.12) {
        await pause(etcd, election, { reason: "a look" });
        await setTimeout(500 + 1_500 * Math.random());
        await resume(etcd, election);
        count("paused");
      } else {
        const named = Math.random() < 0.7 ? { to: pick(who) } : {};
        await handover(etcd, election, { ...named, timeoutMs: 10_000 });
        count("handed over");
      }
    } catch (error) {
      if (!isExpected(error)) throw error;
      count((error as SuccessionError).code.toLowerCase());
    }
    await setTimeout(2_000 * Math.random());
  }
}

/** Kills one after the other, the leader twice as often, and starts it again. Says whose terms it ended. */
async function kill(scene: Scene, until: number, killed: Set<bigint>): Promise<void> {
  while (now() < until) {
    await setTimeout(4_000 + 4_000 * Math.random());
    const leader = scene.leader;
    const victim = leader !== undefined && Math.random() < 0.6 ? leader : pick(scene.actors as Actor[]);
    await victim.kill();
    const last = victim.spells.at(-1)?.token;
    if (last !== undefined) killed.add(last);
    await setTimeout(2_000 * Math.random());
    await victim.restart();
  }
}

describe.each(stages.slice(0, 1))("on %s", (_title, stage) => {
  test(
    `five members under kills and three who steer for ${seconds} s: no overlap, and every term in the history`,
    async () => {
      await using cluster = await stage.start();
      const { endpoints } = cluster;
      await using scene = await Scene.open({
        ...{ endpoints, election, who, ttlSeconds: 3, proxied: false },
        settingsOf: (id) => ({
          priority: priorities[id] as number,
          zone: id < "c" ? "east" : "west",
          ...(id === "e" ? { switchBackAfterMs: 5_000 } : {}),
        }),
      });
      const from = now();
      const until = from + seconds * 1_000;
      const done: Record<string, number> = {};
      const killed = new Set<bigint>();
      await Promise.all([
        kill(scene, until, killed),
        ...who.slice(0, 3).map(() => steer(endpoints, until, done)),
      ]);

      await using etcd = new Etcd({ endpoints });
      await resume(etcd, election);
      // The rest: all stand, and nobody waits before a member to be preferred.
      await eventually(
        async () => {
          const { line } = await readOverview(etcd, election);
          expect(line.map(({ id }) => id).toSorted()).toEqual(who);
          const waiting = line.slice(1).map(({ id }) => priorities[id] as number);
          expect(waiting[0]).toBe(Math.max(...waiting));
        },
        { timeoutMs: atRestWithinMs, everyMs: 100 },
      );
      const { complaints, ...verdict } = judge({
        ...{ spells: scene.spells, endings: scene.endings, excuses: [], excusedMs: 0 },
        ...{ from, to: until, leaderlessMs: 4 * scene.ttlMs },
      });
      say(
        `steered for ${seconds} s: ${JSON.stringify(done)}; ${scene.spells.length} terms, ${killed.size} ended by a kill; ` +
          `leaderless ${verdict.leaderlessMs.toFixed(0)} ms at most`,
      );
      expect(complaints, told(scene)).toEqual([]);
      expect(done["handed over"]).toBeGreaterThan(0);

      // Who acted stands in the history, once, with why the term ended; a look takes up to some seconds.
      const spells = scene.spells.toSorted((a, b) => (a.token < b.token ? -1 : 1)).slice(5 - mostTerms, -1);
      await eventually(
        async () => {
          const terms = new Map(
            (await readHistory(etcd, election, { mostTerms })).map((each) => [each.token, each]),
          );
          for (const { who: id, token } of spells) {
            const { leader, cause, endedAt } = terms.get(token) ?? {};
            expect({ token, leader, ended: endedAt !== undefined }).toEqual({
              token,
              leader: id,
              ended: true,
            });
            const word = scene.endings.get(token);
            // That the key is gone it hears at once; that its lease is, it asks for its record.
            if (word === "key-gone") expect(["key-gone", "lease-gone"], `${token}`).toContain(cause);
            else if (word !== undefined) expect({ token, cause }).toEqual({ token, cause: word });
            // Killed while it handed over, it may have had its word before it died.
            else expect(["lease-gone", "handover"], `${token}`).toContain(cause);
          }
        },
        { timeoutMs: 30_000, everyMs: 500 },
      );
    },
    (seconds + 300) * 1_000,
  );
});
