import type { PastTerm } from "../messages.ts";

/** A term with its instants as numbers, and what came before it. */
export interface Term {
  readonly token: number;
  readonly leader: string;
  readonly zone: string | undefined;
  readonly start: number;
  /** When it ended; for the present one, and for one of which nobody knows better, up to when it may have lasted. */
  readonly end: number;
  readonly current: boolean;
  readonly cause: string | undefined;
  /** How long nobody led before it; undefined for the first on record. */
  readonly gapMs: number | undefined;
  /** Why the term before it ended. */
  readonly causeBefore: string | undefined;
}

/** How much of the past is shown. */
export type RangeName = "recent" | "hour" | "day" | "week" | "all";

/** Ends that somebody chose; all others are failures. */
const plannedCauses: ReadonlySet<string> = new Set(["resigned", "finished", "handover", "closed"]);

const hourMs = 3_600_000;
const rangeMs: Readonly<Partial<Record<RangeName, number>>> = {
  hour: hourMs,
  day: 24 * hourMs,
  week: 168 * hourMs,
};
const recentTerms = 20;
/** Two clocks that tell more than this beside a measure are wrong. */
const mostApartMs = 60_000;

/** The terms on record by their tokens, which are their order whatever the clocks of their members say. Pure. */
export function termsOf(history: readonly PastTerm[], presentToken: number | undefined, now: number): Term[] {
  const sorted = [...history].sort((a, b) => a.token - b.token);
  const terms: Term[] = [];
  for (const [at, past] of sorted.entries()) {
    const start = Date.parse(past.startedAt ?? "");
    if (Number.isNaN(start)) continue;
    const current = past.token === presentToken;
    const told = Date.parse(past.endedAt ?? "");
    const nextStart = Date.parse(sorted[at + 1]?.startedAt ?? "");
    const open = current || Number.isNaN(nextStart) ? now : nextStart;
    const before = terms.at(-1);
    const gapMs = gapBefore(past, start, before);
    terms.push({
      ...{ token: past.token, leader: past.leader, zone: past.zone, start, current, cause: past.cause },
      end: Math.max(start, !current && !Number.isNaN(told) ? told : open),
      ...{ gapMs, causeBefore: before?.cause },
    });
  }
  return terms;
}

/**
 * For how long nobody led: as the new leader measured it, from the old one's key going; longer where the old one said
 * itself that it had stopped before. Those are two clocks, of which the measure can be right although they differ.
 */
function gapBefore({ gapMs }: PastTerm, start: number, before: Term | undefined): number | undefined {
  if (before === undefined) return gapMs;
  const between = start - before.end;
  return Math.max(gapMs ?? 0, between <= mostApartMs || gapMs === undefined ? between : 0, 0);
}

/** Whether the change of leader to this term was chosen by somebody. */
export function isPlanned({ causeBefore }: Pick<Term, "causeBefore">): boolean {
  return causeBefore !== undefined && plannedCauses.has(causeBefore);
}

/** The stretch of time that is shown. Pure. */
export function rangeOf(
  name: RangeName,
  terms: readonly Term[],
  now: number,
): { readonly from: number; readonly to: number } {
  const length = rangeMs[name];
  if (length !== undefined) return { from: now - length, to: now };
  const shown = name === "recent" ? terms.slice(-recentTerms) : terms;
  return { from: shown[0]?.start ?? now - hourMs, to: Math.max(now, (shown[0]?.start ?? 0) + 1_000) };
}

/** The leaders of these terms, who led last first; beyond `most` they share one lane. Pure. */
export function lanesOf(terms: readonly Term[], most: number): readonly string[] {
  const leaders = [...new Set(terms.toReversed().map(({ leader }) => leader))];
  return leaders.length > most ? leaders.slice(0, most - 1) : leaders;
}

const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200];
const dayMs = 86_400_000;

/** Round instants at which the axis has a mark, `most` at most, in the reader's own hours. Pure. */
export function marksOf(from: number, to: number, most: number, zoneOffsetMs: number): readonly number[] {
  const least = (to - from) / Math.max(1, most);
  const step =
    steps.map((seconds) => seconds * 1_000).find((ms) => ms >= least) ?? Math.ceil(least / dayMs) * dayMs;
  const first = Math.ceil((from - zoneOffsetMs) / step) * step + zoneOffsetMs;
  const marks: number[] = [];
  for (let at = first; at <= to; at += step) marks.push(at);
  return marks;
}
