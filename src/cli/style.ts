import type { Looks } from "./output.ts";

type Paint = (text: string) => string;

/** Colours where they are wanted, and signs that the terminal can show. */
export interface Style {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly good: Paint;
  readonly bad: Paint;
  readonly dot: string;
  readonly ring: string;
  readonly cross: string;
  readonly next: string;
  readonly between: string;
  readonly bar: string;
  readonly track: string;
}

export function styleFor({ colour, unicode }: Pick<Looks, "colour" | "unicode">): Style {
  const paint =
    (code: number): Paint =>
    (text) =>
      colour ? `\x1b[${code}m${text}\x1b[0m` : text;
  const signs = unicode
    ? { dot: "●", ring: "○", cross: "×", next: " › ", between: " · ", bar: "█", track: "·" }
    : { dot: "*", ring: "-", cross: "x", next: " > ", between: ", ", bar: "#", track: "." };
  return { bold: paint(1), dim: paint(2), good: paint(32), bad: paint(31), ...signs };
}
