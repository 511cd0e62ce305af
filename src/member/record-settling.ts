import { leaseName } from "../concurrency/naming.ts";
import type { TermLog } from "./term-log.ts";
import type { StoredRecord } from "./term-record.ts";
import type { TermSeen } from "./terms-seen.ts";

export interface Settling {
  readonly log: TermLog;
  /** The terms that this member has seen, oldest first. */
  readonly seen: readonly TermSeen[];
  /** The token of the present leader. */
  readonly leader: bigint;
  /** The token of the member's own newest term, which it writes itself. */
  readonly own: bigint | undefined;
  readonly now: Date;
}

/** Records further back than that have been looked after by others. */
const mostBack = 20;

/**
 * Writes what is missing: records of terms that were seen and that nobody has written, and the ends of terms before the
 * present one. It adds, and changes nothing that is there: the leader's own word goes first whenever it comes. Resolves
 * to how long nobody led before the own term, by two clocks, if that can be told. Rejects as requests to etcd do.
 */
export async function settleRecords({ log, seen, leader, own, now }: Settling): Promise<number | undefined> {
  const records = await log.newest(mostBack);
  const open = [...records.values()].filter(({ token, endedAt }) => token < leader && endedAt === undefined);
  const unknown = seen.filter(({ token }) => token <= leader && !records.has(token));
  for (const token of new Set([...unknown, ...open].map((each) => each.token))) {
    if (token === own) continue;
    const term = seen.find((each) => each.token === token);
    const end = token < leader ? await endOf(log, records, token, term, now) : {};
    await log.write(token, records.get(token), (stored) => {
      if (stored !== undefined && (stored.endedAt !== undefined || token === leader)) return undefined;
      return { ...(stored?.json ?? (term === undefined ? {} : startOf(term))), ...end };
    });
  }
  return gapBefore(own === leader ? records.get(leader) : undefined, records);
}

function startOf({ leader, leaseId, startedAt, gapMs }: TermSeen): object {
  return { leader, leaseId: leaseName(leaseId), startedAt, ...(gapMs === undefined ? {} : { gapMs }) };
}

/** Who does not say why he went has lost his lease, or only his key. */
async function endOf(
  log: TermLog,
  records: ReadonlyMap<bigint, StoredRecord>,
  token: bigint,
  term: TermSeen | undefined,
  now: Date,
): Promise<object> {
  const leaseId = term?.leaseId ?? records.get(token)?.leaseId ?? 0n;
  const cause = (await log.stands(leaseId)) ? "key-gone" : "lease-gone";
  // Where nobody saw the end it was, at the latest, when the next one began.
  const next = [...records.values()].filter((each) => each.token > token).at(-1);
  return { endedAt: term?.endedAt ?? next?.startedAt ?? now.toISOString(), cause };
}

/** From the end that the record before tells to the start of this one. */
function gapBefore(
  record: StoredRecord | undefined,
  records: ReadonlyMap<bigint, StoredRecord>,
): number | undefined {
  if (record === undefined) return undefined;
  const before = [...records.values()].find(({ token }) => token < record.token);
  const ms = Date.parse(record.startedAt ?? "") - Date.parse(before?.endedAt ?? "");
  return ms >= 0 ? ms : undefined;
}
