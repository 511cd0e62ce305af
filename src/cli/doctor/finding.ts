/** How bad it is: `problem` alone makes the exit code 1. */
export const levels = ["ok", "advice", "warning", "problem"] as const;

export type Level = (typeof levels)[number];

/** Something that an examination found. */
export interface Finding {
  readonly level: Level;
  /** What was looked at, in a word or two. */
  readonly check: string;
  readonly what: string;
  /** What to do about it; for nothing to be done there is nothing. */
  readonly todo?: string;
}

export function ok(check: string, what: string): Finding {
  return { level: "ok", check, what };
}

/** The findings, or that all is well where there is none. */
export function orOk(findings: readonly Finding[], check: string, what: string): readonly Finding[] {
  return findings.length > 0 ? findings : [ok(check, what)];
}

/** Text for a shell, for people copy what they are told to do: a name is other people's text. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A list for people: the first few, and how many more there are. */
export function some(names: readonly string[], most: number = 5): string {
  const more = names.length - most;
  return more <= 0 ? names.join(", ") : `${names.slice(0, most).join(", ")} and ${more} more`;
}
