import { cutTo, displayWidth, padTo } from "./display-width.ts";

type Rows = readonly (readonly string[])[];

/** How a table gives way to a narrow screen. */
export interface Fit {
  readonly columns: number;
  /** The heads of the columns that go, the first one first. */
  readonly dispensable: readonly string[];
  /** The head of the one that is cut where that is not enough. */
  readonly elastic: string;
}

/** Narrower than this a text tells nothing. */
const leastText = 8;
const between = 2;

/** Rows as columns of equal width; a column in which only the head says something is left out. */
export function table(rows: Rows): string {
  return tableLines(rows)
    .map((line) => `  ${line}`)
    .join("\n");
}

/** The same line by line, and not indented; made to fit a screen where one is given. */
export function tableLines(rows: Rows, fit?: Fit): readonly string[] {
  const [head = []] = rows;
  const widths = head.map((_, at) => Math.max(...rows.map((row) => displayWidth(row[at] ?? ""))));
  let shown = head
    .map((_, at) => at)
    .filter((at) => at === 0 || rows.slice(1).some((row) => row[at] !== "-"));
  if (fit !== undefined) {
    const excess = (): number =>
      shown.reduce((sum, at) => sum + (widths[at] ?? 0) + between, -between) - fit.columns;
    for (const name of fit.dispensable) {
      if (excess() > 0) shown = shown.filter((at) => head[at] !== name);
    }
    const elastic = head.indexOf(fit.elastic);
    const width = widths[elastic] ?? 0;
    widths[elastic] = Math.min(width, Math.max(leastText, width - Math.max(0, excess())));
  }
  return rows.map((row) =>
    shown
      .map((at) => padTo(widths[at] ?? 0, cutTo(widths[at] ?? 0, row[at] ?? "")))
      .join(" ".repeat(between))
      .trimEnd(),
  );
}
