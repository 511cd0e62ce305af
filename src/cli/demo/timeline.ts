import type { Style } from "../style.ts";
import type { TermRecord } from "./record.ts";

/** A demo may run for hours. */
const longestList = 30;

/** The terms as a table and, drawn to scale, a row for each name. */
export function timeline(
  terms: readonly TermRecord[],
  names: readonly string[],
  now: number,
  { style, columns }: { readonly style: Style; readonly columns: number },
): readonly string[] {
  const start = terms[0]?.start;
  if (start === undefined) return ["Nobody led."];
  const until = (term: TermRecord): number => (term.open ? now : term.end);
  const shown = terms.slice(-longestList);
  const rows = shown.map((term) => [
    term.who,
    `token ${term.token}`,
    `${seconds(term.start - start)} to ${seconds(until(term) - start)}`,
    term.open ? "leads" : `ended: ${term.endedBy ?? "unknown"}`,
  ]);
  const widths = [0, 1, 2].map((at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  const list = rows.map((row) =>
    `  ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join("  ")}`.trimEnd(),
  );
  const length = Math.max(now - start, 1);
  const label = Math.max(...names.map((name) => name.length)) + 4;
  const width = Math.max(10, Math.min(columns, 100) - label - 1);
  const drawn = names.map((name) => {
    const own = terms.filter((term) => term.who === name);
    const cells = Array.from({ length: width }, (_, at) => {
      const middle = start + ((at + 0.5) / width) * length;
      return own.some((term) => term.start <= middle && middle < until(term));
    });
    return `  ${name.padEnd(label - 2)}${paint(cells, style)}`;
  });
  const end = seconds(length);
  const scale = `  ${" ".repeat(label - 2)}0${end.padStart(width - 1)}`;
  const earlier = terms.length - shown.length;
  const more = earlier === 0 ? [] : [style.dim(`  (${earlier} before these)`)];
  return [style.bold("Terms"), ...more, ...list, "", ...drawn, style.dim(scale)];
}

/** Neighbours of one kind as one painted piece. */
function paint(cells: readonly boolean[], style: Style): string {
  const text = cells.map((led) => (led ? "1" : "0")).join("");
  return text.replace(/1+|0+/g, (run) =>
    run.startsWith("1")
      ? style.good(style.bar.repeat(run.length))
      : style.dim(style.track.repeat(run.length)),
  );
}

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** A duration to compare with others. */
export function duration(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(2)} s`;
}
