import { setTimeout } from "node:timers/promises";
import { expect } from "vitest";
import type { Cause } from "../../src/errors.ts";
import { type Actor, now } from "./actor.ts";
import type { Scene } from "./scene.ts";
import { judge } from "./verdict.ts";

/** A fault, and what may follow from it. */
export interface Fault<World> {
  readonly name: string;
  /** What comes before. */
  readonly prepare?: (world: World, victim: Actor, scene: Scene) => unknown;
  /** Makes it; resolves when it is there. */
  readonly strike: (world: World, victim: Actor, scene: Scene) => unknown;
  /** Takes it back; resolves when it is gone. Nothing by default, for faults of an instant. */
  readonly heal?: (world: World, victim: Actor, scene: Scene) => unknown;
  /** How long it lasts. @defaultValue 0 */
  readonly lastsMs?: number;
  /** Nobody can lead while it lasts. */
  readonly silencesEtcd?: boolean;
  /** How long nobody may lead, beside that. @defaultValue what a leader's end without a word costs */
  readonly leaderlessMs?: number;
  /** How long after it everybody is back in line. @defaultValue the TTL and 5 s */
  readonly settlesMs?: number;
  /** It costs nobody the lead. */
  readonly costsNoLead?: boolean;
  /** Endings of terms which etcd itself brought about, by removing the key. */
  readonly excuses?: readonly Cause[];
  /** The store goes back, so that tokens may begin anew. */
  readonly restores?: boolean;
}

/** Of a machine that is busy with several such scenes at once; what is promised in figures is measured elsewhere. */
const slackMs = 3_000;

/** Makes the fault, takes it back, waits until all is well again, and holds the record against the promises. */
export async function play<World>(
  fault: Fault<World>,
  world: World,
  scene: Scene,
  victim: Actor,
): Promise<void> {
  const { lastsMs = 0, leaderlessMs = scene.ttlMs + slackMs, settlesMs = scene.ttlMs + 5_000 } = fault;
  await fault.prepare?.(world, victim, scene);
  const from = now();
  await fault.strike(world, victim, scene);
  await setTimeout(lastsMs);
  let awayMs = 0;
  let settledMs: number;
  try {
    await fault.heal?.(world, victim, scene);
    if (fault.silencesEtcd === true) awayMs = now() - from;
    settledMs = await scene.settled(settlesMs);
  } catch (error) {
    throw new Error(`not all is well after the fault\n${told(scene)}`, { cause: error });
  }
  const { complaints, excused, ...verdict } = judge({
    ...{ spells: scene.spells, endings: scene.endings, from, to: now() },
    leaderlessMs: awayMs + leaderlessMs,
    ...{ excuses: fault.excuses ?? [], excusedMs: scene.ttlMs },
    restoredAt: fault.restores === true ? from : undefined,
  });
  for (const { first, second, ms } of excused)
    say(
      `${fault.name}: ${first.who} beside ${second.who} for ${ms.toFixed(1)} ms, as etcd had removed its key`,
    );
  say(
    `${fault.name}: leaderless ${verdict.leaderlessMs.toFixed(0)} ms, well after ${settledMs.toFixed(0)} ms`,
  );
  expect(complaints, told(scene)).toEqual([]);
  if (fault.costsNoLead === true) expect(scene.spells, told(scene)).toHaveLength(1);
}

/** A figure for the report of the run. */
export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** What everybody said, by time, for whoever looks into a failure. */
export function told(scene: Scene): string {
  const states = scene.actors.flatMap(({ id, states }) => states.map((state) => ({ id, ...state })));
  const lines = states
    .sort((a, b) => a.at - b.at)
    .map(({ id, at, role, phase, leader, token, cause }) =>
      [at.toFixed(1), id, role, phase, `leader=${leader}`, `token=${token}`, `cause=${cause}`].join(" "),
    );
  const spells = scene.spells.map(
    ({ who, start, end, token }) => `${who} acted ${start.toFixed(1)} to ${end.toFixed(1)} with ${token}`,
  );
  const warnings = scene.actors.map(({ id, warnings }) => `--- ${id} warned\n${warnings}`);
  return [...lines, ...spells, ...warnings].join("\n");
}
