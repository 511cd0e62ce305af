import type { Cause } from "../../src/errors.ts";
import { type Acting, type Overlap, overlaps } from "../../src/testing/ledger.ts";

/** What is on record of a run, and what it is held against. */
export interface Trial {
  readonly spells: readonly Acting[];
  /** Why terms ended, by their tokens. */
  readonly endings: ReadonlyMap<bigint, Cause>;
  /**
   * Where etcd itself removes the key of a live leader, its term may overlap with the next one until the event is
   * delivered, or until its deadline: endings that excuse, and for how long.
   */
  readonly excuses: readonly Cause[];
  readonly excusedMs: number;
  /** Between these instants somebody leads, but for so many milliseconds at a time. */
  readonly from: number;
  readonly to: number;
  readonly leaderlessMs: number;
  /** At this instant the store went back: tokens grow before and after, not across. */
  readonly restoredAt?: number | undefined;
}

export interface Verdict {
  /** What must not be, in words; empty where all is well. */
  readonly complaints: readonly string[];
  readonly excused: readonly Overlap[];
  /** The longest time in which nobody acted. */
  readonly leaderlessMs: number;
}

/** Holds the ledger of a run against the promises. */
export function judge(trial: Trial): Verdict {
  const { endings, excuses, excusedMs } = trial;
  const complaints: string[] = [];
  const excused: Overlap[] = [];
  for (const overlap of overlaps(trial.spells)) {
    const { first, second, ms } = overlap;
    const ending = endings.get(first.token);
    if (ending !== undefined && excuses.includes(ending) && ms <= excusedMs) excused.push(overlap);
    else
      complaints.push(
        `${first.who} (${first.token}) and ${second.who} (${second.token}) both acted for ${ms.toFixed(1)} ms, ` +
          `from ${second.start.toFixed(1)}; the first ended with ${ending ?? "no cause"}`,
      );
  }
  complaints.push(...tokensThatFell(trial));
  const leaderlessMs = longestGap(trial.spells, trial.from, trial.to);
  if (leaderlessMs > trial.leaderlessMs)
    complaints.push(`nobody led for ${leaderlessMs.toFixed(0)} ms, of ${trial.leaderlessMs} allowed`);
  return { complaints, excused, leaderlessMs };
}

function tokensThatFell({ spells, restoredAt = Number.POSITIVE_INFINITY }: Trial): string[] {
  const byStart = [...spells].sort((a, b) => a.start - b.start);
  return byStart.flatMap((spell, at) => {
    const before = byStart[at - 1];
    if (before === undefined || spell.token > before.token) return [];
    if (before.start < restoredAt && spell.start >= restoredAt) return [];
    return [`${spell.who} led with token ${spell.token} after ${before.who} with ${before.token}`];
  });
}

/** The longest stretch between the two instants in which nobody acted. */
export function longestGap(spells: readonly Acting[], from: number, to: number): number {
  let longest = 0;
  let reached = from;
  for (const { start, end } of [...spells].sort((a, b) => a.start - b.start)) {
    longest = Math.max(longest, Math.min(start, to) - reached);
    reached = Math.max(reached, end);
  }
  return Math.max(longest, to - reached);
}
