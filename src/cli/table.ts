/** Rows as columns of equal width; a column in which only the head says something is left out. */
export function table(rows: readonly (readonly string[])[]): string {
  const columns = (rows[0] ?? []).map((_, at) => at);
  const shown = columns.filter((at) => at === 0 || rows.slice(1).some((row) => row[at] !== "-"));
  const widths = columns.map((at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  return rows
    .map((row) => `  ${shown.map((at) => (row[at] ?? "").padEnd(widths[at] ?? 0)).join("  ")}`.trimEnd())
    .join("\n");
}
