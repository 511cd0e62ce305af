import { leaseName, metaFolder } from "../concurrency/naming.ts";
import type { Session } from "../concurrency/session.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError, isLeaseGone } from "../etcd/failure.ts";
import { objectIn } from "../json.ts";
import { backoffMs, sleep } from "../waiting.ts";

export { defaultMetaPrefix } from "../concurrency/naming.ts";

/** What a member tells about itself, as JSON, beside its key. Unknown fields are ignored, missing ones tolerated. */
export interface MemberDetails {
  readonly id: string;
  /** Where clients reach the member, such as `10.0.0.1:8080`. */
  readonly address?: string;
  /** The data centre or availability zone. */
  readonly zone?: string;
  /** How much this member is to be preferred, 0 to 255; 100 where nothing is said. */
  readonly priority?: number;
  /** `false` for a witness, which stands in no line. */
  readonly candidate?: boolean;
  /** The version of this package. */
  readonly version?: string;
  /** When the member came up, as an ISO date. */
  readonly startedAt?: string;
  /** Whether the service is well, by the member's own check; missing where it has none. */
  readonly healthy?: boolean;
  /** Set when the member gives its term up by its own will: who routes traffic lets its connections end in peace. */
  readonly draining?: boolean;
}

/** The prefix of all details of an election's members. */
export function detailsPrefix(election: string, metaPrefix?: string): string {
  return `${metaFolder(election, metaPrefix)}members/`;
}

/** The prefix of the release marks of an election. */
export function marksPrefix(election: string, metaPrefix: string): string {
  return `${metaFolder(election, metaPrefix)}released/`;
}

/** The key of one member's details, by the lease that its candidate's key hangs on. */
export function detailsKey(election: string, leaseId: bigint, metaPrefix?: string): string {
  return `${detailsPrefix(election, metaPrefix)}${leaseName(leaseId)}`;
}

/** Reads details; what is not a JSON object counts as none. */
export function parseDetails(json: string): Partial<MemberDetails> {
  return objectIn(json);
}

/**
 * Stores the details, as they are at each try, bound to the session's lease, trying as long as the session lives. Resolves
 * to the error if etcd refuses them: the member stands in the election all the same. Never rejects.
 */
export async function putDetails(
  etcd: Etcd,
  session: Session,
  key: string,
  details: () => MemberDetails,
): Promise<EtcdError | undefined> {
  const { leaseId, signal } = session;
  for (let failures = 1; !signal.aborted; failures++) {
    try {
      await etcd.put(key, JSON.stringify(details()), { lease: leaseId, signal });
      return undefined;
    } catch (error) {
      if (signal.aborted || isLeaseGone(error)) return undefined;
      if (error instanceof EtcdError && refusals.has(error.code)) return error;
      await sleep(etcd.clock, backoffMs(etcd.clock, failures, 200, 5_000), signal).catch(() => {});
    }
  }
  return undefined;
}

/**
 * Marks the details of a member whose term goes by plan, before its key goes: else its end counts as a failure. Resolves
 * soon, whether or not etcd has taken it. Never rejects.
 */
export async function markDraining(
  etcd: Etcd,
  session: Session,
  key: string,
  details: MemberDetails,
): Promise<void> {
  const { leaseId: lease, signal } = session;
  try {
    const marked = JSON.stringify({ ...details, draining: true });
    await etcd.put(key, marked, { lease, signal, timeoutMs: markMs });
  } catch (error) {
    if (!signal.aborted) etcd.logger.debug({ error, key }, "could not mark a member as draining");
  }
}

/** A handover waits no longer for its mark. */
const markMs = 1_000;

/** What repeating does not help against. */
const refusals: ReadonlySet<string> = new Set(["PERMISSION_DENIED", "ETCD_REFUSED"]);
