import type { Candidate } from "../concurrency/line.ts";
import { pauseText } from "./pause.ts";
import { type Refusal, refused } from "./refusal.ts";
import { comesBack, type Survey } from "./survey.ts";

/** What a handover would do, or why it cannot be. */
export type Plan =
  | {
      readonly at: "possible";
      readonly leader: Candidate;
      readonly target: Candidate;
      /** Those who stand between the two, first in line first: they go to the end of the line before. */
      readonly between: readonly Candidate[];
    }
  | Refusal;

/** More names than this are counted. */
const mostNames = 5;

/** Decides on a handover of the term `token`, to the candidate with the id or key `to`, else to the next in line. */
export function handoverPlan(survey: Survey, token: bigint, to: string | undefined): Plan {
  const { line, pause } = survey;
  const [leader, ...waiting] = line;
  if (leader === undefined) return refused("no-leader", "nobody leads");
  if (leader.token !== token)
    return refused("another-leader", `${quoted(leader)} leads now, with the token ${leader.token}`);
  if (pause !== undefined) return refused("paused", `changes of leader are paused: ${pauseText(pause)}`);
  if (waiting.length === 0) return refused("no-standby", `nobody stands by; ${quoted(leader)} leads on`);
  const found = to === undefined ? waiting.slice(0, 1) : named(line, to);
  const [target, other] = found;
  if (target === undefined) return absence(survey, to ?? "");
  if (other !== undefined) {
    const keys = found.map(({ key }) => key).join(", ");
    return refused(
      "shared-id",
      `${found.length} candidates are called ${quoted(target)}: name one by its key, of ${keys}`,
    );
  }
  if (target === leader) return refused("leads-already", `${quoted(target)} leads already`);
  const between = waiting.slice(0, waiting.indexOf(target));
  const strangers = between.filter((each) => !comesBack(survey, each));
  if (strangers.length === 0) return { at: "possible", leader, target, between };
  return refused(
    "strangers-between",
    `${names(strangers)} would have to be passed over, and cannot be: no member of Succession that tells its ` +
      `details, and so comes back by itself; name ${strangers.length === 1 ? "it" : "the first"}, or wait`,
  );
}

/** By key, for ids may be shared; else by id. */
function named(line: readonly Candidate[], to: string): readonly Candidate[] {
  const byKey = line.filter(({ key }) => key === to);
  return byKey.length > 0 ? byKey : line.filter(({ id }) => id === to);
}

function absence({ line, details }: Survey, to: string): Refusal {
  const told = [...details.values()].filter(({ id }) => id === to);
  if (told.some(({ candidate }) => candidate === false))
    return refused("witness", `${JSON.stringify(to)} is a witness and never leads`);
  return refused(
    "not-in-line",
    `${JSON.stringify(to)} does not stand in line; ${names(line.slice(1))} ${line.length === 2 ? "does" : "do"}`,
  );
}

function names(candidates: readonly Candidate[]): string {
  const shown = candidates.slice(0, mostNames).map(quoted).join(", ");
  const more = candidates.length - mostNames;
  return more > 0 ? `${shown} and ${more} more` : shown;
}

/** An id so that it cannot steer a terminal. */
function quoted({ id }: Candidate): string {
  return JSON.stringify(id);
}
