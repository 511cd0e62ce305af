import { displayWidth, padTo } from "./display-width.ts";

/** Rows as columns of equal width; a column in which only the head says something is left out. */
export function table(rows: readonly (readonly string[])[]): string {
  return tableLines(rows)
    .map((line) => `  ${line}`)
    .join("\n");
}

/** The same line by line, and not indented. */
export function tableLines(rows: readonly (readonly string[])[]): readonly string[] {
  const columns = (rows[0] ?? []).map((_, at) => at);
  const shown = columns.filter((at) => at === 0 || rows.slice(1).some((row) => row[at] !== "-"));
  const widths = columns.map((at) => Math.max(...rows.map((row) => displayWidth(row[at] ?? ""))));
  return rows.map((row) =>
    shown
      .map((at) => padTo(widths[at] ?? 0, row[at] ?? ""))
      .join("  ")
      .trimEnd(),
  );
}
