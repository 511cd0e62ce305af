import type { TermRecord } from "../member/term-record.ts";
import type { Overview, Place } from "../overview/overview.ts";

/** What has happened in an election: what `watch --json` prints, but for the time. */
export interface WatchEvent {
  /**
   * `observed`: how it stands, at first, after an outage and when nobody leads. `candidate`, `left`: somebody stands in
   * line, or does not any more. `leader`: somebody leads. `ended`: why a term ended, which is known a little later.
   */
  readonly event:
    | "observed"
    | "candidate"
    | "left"
    | "leader"
    | "ended"
    | "paused"
    | "resumed"
    | "handover"
    | "error";
  readonly election: string;
  /** Of whom it tells. */
  readonly id: string | null;
  /** The present leader's id. */
  readonly leader: string | null;
  /** The present leader's token; of an ended term, its own. */
  readonly token: bigint | null;
  readonly cause: string | null;
  /** Who paused, resumed or asks for a handover. */
  readonly by?: string | null;
  /** Why it is paused. */
  readonly reason?: string;
  /** To whom the leader is to hand over; null for the next in line. */
  readonly to?: string | null;
  /** For people, with an error. */
  readonly message?: string;
}

/** How an election stands. */
export function observed(of: Overview): WatchEvent {
  return event("observed", of, of.leader?.id);
}

/** What has happened between two looks, in the order in which people would tell it. Pure. */
export function eventsBetween(before: Overview, after: Overview): readonly WatchEvent[] {
  const was = new Set(before.line.map(({ token }) => token));
  const is = new Set(after.line.map(({ token }) => token));
  const others = (line: readonly Place[], known: ReadonlySet<bigint>): readonly Place[] =>
    line.filter(({ token }) => !known.has(token));
  return [
    ...others(before.line, is).map(({ id }) => event("left", after, id)),
    ...others(after.line, was).map(({ id }) => event("candidate", after, id)),
    ...leaderEvents(before, after),
    ...(before.complete ? endedSince(before, after) : []),
    ...pauseEvents(before, after),
    ...handoverEvents(before, after),
  ];
}

function leaderEvents(before: Overview, after: Overview): readonly WatchEvent[] {
  const { leader } = after;
  if (leader?.token !== before.leader?.token)
    return leader === undefined ? [observed(after)] : [event("leader", after, leader.id)];
  // Whoever leads may give himself another value.
  return leader?.id === before.leader?.id ? [] : [observed(after)];
}

function endedSince(before: Overview, after: Overview): readonly WatchEvent[] {
  const known = new Map(before.terms.map((term) => [term.token, term]));
  const isNews = (term: TermRecord): boolean => {
    const { endedAt, cause } = known.get(term.token) ?? {};
    return term.endedAt !== undefined && (endedAt === undefined || cause !== term.cause);
  };
  const oldest = before.terms.at(-1)?.token ?? 0n;
  return after.terms
    .filter((term) => term.token >= oldest && isNews(term))
    .map(({ token, leader, cause }) => ({ ...event("ended", after, leader), token, cause: cause ?? null }))
    .reverse();
}

function pauseEvents(before: Overview, after: Overview): readonly WatchEvent[] {
  const { pause } = after;
  if (pause === undefined) return before.pause === undefined ? [] : [event("resumed", after, undefined)];
  if (pause.revision === before.pause?.revision) return [];
  const { reason, by = null } = pause;
  return [{ ...event("paused", after, undefined), reason, by }];
}

function handoverEvents(before: Overview, after: Overview): readonly WatchEvent[] {
  const { handover } = after;
  if (handover === undefined || handover.revision === before.handover?.revision) return [];
  const { to = null, by = null } = handover;
  return [{ ...event("handover", after, undefined), to, by }];
}

function event(
  name: WatchEvent["event"],
  { election, leader }: Overview,
  id: string | undefined,
): WatchEvent {
  const present = { leader: leader?.id ?? null, token: leader?.token ?? null };
  return { event: name, election, id: id ?? null, ...present, cause: null };
}
