import type { Enclosure } from "./enclosure.ts";
import { environmentHolds, isAlive, type ProcessEntry, processEntry, processIds } from "./process-table.ts";
import { sendSignal } from "./send-signal.ts";

/**
 * Kills all processes of a program that are found in /proc: by the mark in their environment, or by their session.
 * Returns those that are still dying; none only if two looks in a row found nothing, because a process that forks and
 * ends during the first may have its child overlooked.
 */
export function killMarked(
  enclosure: Enclosure,
  dyingBefore: readonly ProcessEntry[],
): readonly ProcessEntry[] {
  // A dying process has no environment any more, but may still hold files; the first one of a namespace waits for all others.
  const dying = dyingBefore.filter(isAlive);
  const found = [...dying, ...findMarked(enclosure)];
  const living = new Map(
    (found.length > 0 ? found : findMarked(enclosure)).map((entry) => [entry.pid, entry]),
  );
  // First nobody forks any more, then all die; the one that the others hang on first, so that it says nothing of them.
  for (const pid of living.keys()) sendSignal(pid, "SIGSTOP");
  const ids = [...living.keys()].sort((a, b) => Number(b === enclosure.pid) - Number(a === enclosure.pid));
  for (const pid of ids) sendSignal(pid, "SIGKILL");
  return [...living.values()];
}

/** The living processes of a program that one look finds. */
export function findMarked({ mark, pid: first }: Enclosure): readonly ProcessEntry[] {
  return processIds().flatMap((pid) => {
    if (pid === process.pid) return [];
    const entry = processEntry(pid);
    if (entry === undefined || "ZX".includes(entry.state)) return [];
    const belongs = entry.session === first || environmentHolds(pid, mark);
    return belongs ? [entry] : [];
  });
}
