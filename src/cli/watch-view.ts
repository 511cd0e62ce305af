import type { OverviewItem } from "../overview/follow.ts";
import type { LeaseTime } from "../overview/lease-times.ts";
import {
  type LeaseTimes,
  leaderText,
  lineDispensable,
  lineHead,
  lineRows,
  notesOf,
  shown,
} from "./line-table.ts";
import { oneLine } from "./one-line.ts";
import { printable } from "./output.ts";
import type { Style } from "./style.ts";
import { tableLines } from "./table.ts";
import { termDispensable, termHead, termRow } from "./term-table.ts";

/** An election as the screen knows it. */
export interface Watched {
  readonly election: string;
  /** Missing while nothing is known. */
  readonly item: OverviewItem | undefined;
  readonly times: LeaseTimes;
  /** Milliseconds since those were read. */
  readonly timesAgeMs: number;
  /** For how many milliseconds etcd has not answered. */
  readonly staleMs: number;
}

export interface ViewSize {
  readonly rows: number;
  readonly columns: number;
  readonly style: Style;
}

/** Of the terms at most so many, where there is room. */
const mostTerms = 5;

/** Elections as lines that fit on a screen of such a size. Pure. */
export function watchLines(all: readonly Watched[], { rows, columns, style }: ViewSize): readonly string[] {
  const linesOf = (each: Watched, room: number): readonly string[] =>
    electionLines(each, { rows: room, columns, style });
  const wanted = all.map((each) => linesOf(each, Number.POSITIVE_INFINITY).length);
  const shares = sharesOf(rows, wanted);
  return all.flatMap((each, at) => linesOf(each, shares[at] ?? 0)).slice(0, rows);
}

/** Divides rows among those who want so many: who wants fewer than an equal share leaves the rest to the others. Pure. */
export function sharesOf(rows: number, wanted: readonly number[]): readonly number[] {
  const shares = wanted.map(() => 0);
  const bySize = wanted.map((want, at) => ({ want, at })).sort((a, b) => a.want - b.want);
  let left = rows;
  for (const [done, { want, at }] of bySize.entries()) {
    const share = Math.min(want, Math.floor(left / (bySize.length - done)));
    shares[at] = share;
    left -= share;
  }
  return shares;
}

function electionLines(watched: Watched, { rows, columns, style }: ViewSize): readonly string[] {
  const { election, item } = watched;
  const { bold, dim, bad } = style;
  const trouble = item?.at === "stale" ? [bad(`  ${troubleText(item, watched.staleMs)}`)] : [];
  const overview = item?.overview;
  if (overview === undefined)
    return [bold(shown(election)), ...trouble, dim("  waiting for etcd"), ""].slice(0, rows);
  const times = aged(watched.times, watched.timesAgeMs);
  const notes = overview.complete
    ? notesOf(overview, times)
    : ["no right to read what members tell: the line alone is shown"];
  const top = [
    (overview.leader === undefined ? bad : bold)(leaderText(overview)),
    ...trouble,
    ...notes.map((note) => `  ${note}`),
  ];
  // A blank line ends each election.
  const room = Math.max(0, rows - top.length - 1);
  const termRows = overview.terms.slice(0, mostTerms).map((term) => termRow(term, overview.leader?.token));
  // Indented, and the last column of a screen stays free.
  const width = columns - 3;
  const terms = tableLines([termHead, ...termRows], {
    ...{ columns: width, dispensable: termDispensable, elastic: "LEADER" },
  });
  const wanted = overview.line.length + overview.witnesses.length + 1;
  // The line goes first; what it leaves is for terms, with a blank line before them.
  const termRoom = overview.terms.length === 0 ? 0 : Math.min(terms.length + 1, Math.max(0, room - wanted));
  const rowsOfLine = lineRows(overview, times);
  return [
    ...top,
    ...lineLines(rowsOfLine, { rows: room - termRoom, columns: width, style }),
    ...(termRoom < 3 ? [] : ["", ...terms.slice(0, termRoom - 1).map(indentedWithHead(dim))]),
    "",
  ];
}

function lineLines(
  rows: readonly (readonly string[])[],
  { rows: room, columns, style: { dim } }: ViewSize,
): readonly string[] {
  if (rows.length === 0 || room < 2) return [];
  const fits = rows.length + 1 <= room;
  // Only what is shown counts for the widths: the first ones are of interest.
  const kept = fits ? rows : rows.slice(0, Math.max(1, room - 2));
  const fit = { columns, dispensable: lineDispensable, elastic: "ID" };
  const lines = tableLines([lineHead, ...kept], fit).map(indentedWithHead(dim));
  return fits ? lines : [...lines, dim(`  and ${rows.length - kept.length} more`)].slice(0, room);
}

function indentedWithHead(dim: (text: string) => string): (line: string, at: number) => string {
  return (line, at) => (at === 0 ? dim(`  ${line}`) : `  ${line}`);
}

function troubleText({ error }: Extract<OverviewItem, { at: "stale" }>, staleMs: number): string {
  const seconds = Math.round(staleMs / 1_000);
  return `etcd has not answered for ${seconds} s; this is how it was (${printable(oneLine(error))})`;
}

/** What is left by now. */
function aged(times: LeaseTimes, ageMs: number): LeaseTimes {
  const left = ({ remainingMs, ttlMs }: LeaseTime): LeaseTime => ({
    remainingMs: Math.max(0, remainingMs - ageMs),
    ttlMs,
  });
  return new Map([...times].map(([leaseId, time]) => [leaseId, left(time)]));
}
