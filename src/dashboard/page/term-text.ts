import { printable } from "./printable.ts";
import type { Term } from "./terms.ts";
import { duration } from "./times.ts";
import type { Words } from "./words.ts";

/** Everything that is known of a term, line by line, its leader first. */
export function termLines(term: Term, words: Words, language: string): readonly string[] {
  const { leader, zone, token, start, end, current, gapMs } = term;
  const lasted = duration(end - start, words.units);
  return [
    printable(leader),
    `${words.token} ${token}${zone === undefined ? "" : ` · ${words.zone} ${printable(zone)}`}`,
    `${words.from} ${instantText(start, language)}`,
    current ? `${words.stillLeads}: ${lasted}` : `${words.until} ${instantText(end, language)} (${lasted})`,
    ...(current ? [] : [`${words.endedBy}: ${causeText(term.cause, words)}`]),
    ...(gapMs === undefined ? [] : [`${words.gapBefore} ${duration(gapMs, words.units)}`]),
  ];
}

/** Date and time for people; a reader in another time zone than the server's sees his own. */
export function instantText(at: number, language: string): string {
  return new Intl.DateTimeFormat(language, {
    dateStyle: "medium",
    timeStyle: "medium",
    hourCycle: "h23",
  }).format(at);
}

/** A cause in a sentence; one that this page does not know, of a newer version, as it is. */
export function causeText(cause: string | undefined, { causes, unknownCause }: Words): string {
  if (cause === undefined) return unknownCause;
  return Object.hasOwn(causes, cause) ? (causes[cause] ?? "") : printable(cause);
}
