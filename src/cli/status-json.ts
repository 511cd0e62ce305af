import { leaseName } from "../concurrency/naming.ts";
import type { Overview, Place, Witness } from "../overview/overview.ts";
import type { LeaseTimes } from "./line-table.ts";

/** An election as `status --json` prints it: what is not known is left out, of a place, or null, of the election. */
export function statusJson(overview: Overview, times: LeaseTimes): object {
  const { election, leader, line, witnesses, pause, handover, terms, revision, complete } = overview;
  const present = terms.find(({ token }) => token === leader?.token);
  const places = line.map((place, at) => placeJson(place, at, times));
  return {
    ...{ election, leader: places[0] ?? null, line: places, revision },
    leaderSince: present?.startedAt ?? null,
    witnesses: witnesses.map((witness) => witnessJson(witness, times)),
    pause: pause === undefined ? null : pauseJson(pause, times),
    handover:
      handover === undefined
        ? null
        : { to: handover.to ?? null, by: handover.by ?? null, accepted: handover.answer !== undefined },
    complete,
  };
}

function placeJson(place: Place, at: number, times: LeaseTimes): object {
  const { id, key, token, leaseId, isMember, startedAt, address, zone, ...told } = place;
  return {
    ...{ id, key, token, leaseId: leaseName(leaseId) },
    ...(address === undefined ? {} : { address }),
    ...(zone === undefined ? {} : { zone }),
    ...(startedAt === undefined ? {} : { since: startedAt }),
    ...{
      role: at === 0 ? "leader" : "standby",
      position: at,
      member: isMember,
      ...told,
      ...times.get(leaseId),
    },
  };
}

function witnessJson({ leaseId, startedAt, ...told }: Witness, times: LeaseTimes): object {
  const since = startedAt === undefined ? {} : { since: startedAt };
  return { ...told, ...since, role: "witness", leaseId: leaseName(leaseId), ...times.get(leaseId) };
}

function pauseJson(
  { reason, since, by, leaseId }: NonNullable<Overview["pause"]>,
  times: LeaseTimes,
): object {
  return { reason, since, by: by ?? null, remainingMs: times.get(leaseId)?.remainingMs ?? null };
}
