import { leaseName } from "../concurrency/naming.ts";
import type { TermRecord } from "../member/term-record.ts";
import type { Overview, Place } from "../overview/overview.ts";
import type { Candidate, OverviewMessage, PastTerm } from "./messages.ts";

/** An overview as the page is told it. Pure. */
export function overviewMessage(overview: Overview, time: Date): OverviewMessage {
  const { election, pause, handover, complete, revision } = overview;
  const line = overview.line.map(candidateOf);
  return {
    ...{ election, line, leader: line[0] ?? null },
    witnesses: overview.witnesses.map(({ id, zone, address, version }) =>
      known({ id, zone, address, version }),
    ),
    pause:
      pause === undefined
        ? null
        : known({ reason: pause.reason, since: pause.since, by: pause.by, ends: pause.leaseId !== 0n }),
    handover:
      handover === undefined
        ? null
        : known({ to: handover.to, by: handover.by, accepted: handover.answer?.at === "accepted" }),
    history: overview.terms.map(termOf).reverse(),
    ...{ complete, revision: Number(revision), time: time.toISOString() },
  };
}

function candidateOf(place: Place): Candidate {
  const { id, key, token, leaseId, isMember, address, zone, priority, version, healthy, draining } = place;
  return known({
    ...{ id, key, token: Number(token), leaseId: leaseName(leaseId), isMember },
    ...{ address, zone, priority, version, healthy, draining, startedAt: place.startedAt },
  });
}

function termOf({ token, leader, zone, startedAt, endedAt, cause, gapMs }: TermRecord): PastTerm {
  return known({ token: Number(token), leader, zone, startedAt, endedAt, cause, gapMs });
}

/** What is known of it: fields that are `undefined` are not there. */
function known<T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
