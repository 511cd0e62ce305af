import { Observer } from "../../src/concurrency/observer.ts";
import type { Program } from "./program.ts";

/** An observer that hears nothing asks every ten seconds. */
const restoreNoticedMs = 30_000;

/** Follows the leaders, and compares them with those that there truly were. */
export async function observe(program: Program, signal?: AbortSignal): Promise<void> {
  const { simulation, etcd } = program;
  const { truth } = simulation;
  const observer = new Observer(etcd, simulation.scenario.election);
  let at = program.leadersBefore;
  let first = true;
  let shownAt = Number.NEGATIVE_INFINITY;
  try {
    for await (const leader of observer.observe(signal === undefined ? {} : { signal })) {
      if (leader === undefined) continue;
      if (simulation.recording) simulation.note(`${program.id} observes ${leader.id} (${leader.token})`);
      if (truth.restoredAt > shownAt) {
        // What it knows is of another store, until it has read anew.
        first = true;
        if (truth.restoredAt >= program.rereadAt && simulation.now < truth.restoredAt + restoreNoticedMs)
          continue;
        at = Math.max(
          0,
          truth.leaders.findIndex((each) => each.history === truth.history),
        );
      }
      const found = truth.leaders.findIndex(
        (each, index) => index >= at && each.token === leader.token && each.key === leader.key,
      );
      if (found < 0) {
        simulation.violation(
          "observed-no-leader",
          `${program.id} observes ${leader.key}@${leader.token}, which did not lead then`,
        );
        return;
      }
      const skipped = found - at > 1 && !first;
      if (skipped && program.rereadAt < shownAt) {
        simulation.violation("observer-skipped", `${program.id} skips from leader ${at} to ${found}`);
      }
      at = found;
      first = false;
      shownAt = simulation.now;
    }
  } catch {
    // The client was closed.
  }
}
