import { badOption } from "../errors.ts";
import { type Bytes, toBytes } from "../etcd/bytes.ts";

/** The largest value of a candidate's key, in bytes. */
const maxValueBytes = 4_096;

/** Where nothing of an election may be: everything under a name that begins with the election's is a candidate. */
const metaRoot = "_succession";

/** Where everything about elections is kept that is not a candidate, unless a tenant has a place of its own. */
export const defaultMetaPrefix: string = `${metaRoot}/v1/`;

/** Where everything about one election is kept that is not a candidate. */
export function metaFolder(election: string, metaPrefix: string = defaultMetaPrefix): string {
  return `${metaPrefix}${encodeURIComponent(election)}/`;
}

/** Throws `BAD_OPTION` unless `election` can be the name of one. */
export function checkElection(election: string, field: string = "election"): void {
  if (typeof election !== "string" || election === "")
    throw badOption(field, "a name such as /merc", election);
  if (election.endsWith("/")) throw badOption(field, "a name without a trailing /", election);
  if (/^\/*_succession(\/|$)/.test(election)) {
    throw badOption(field, `a name outside ${metaRoot}, where details are kept`, election);
  }
  // A lone surrogate has no UTF-8 form: two names would become one key.
  if (/\p{Surrogate}/u.test(election)) throw badOption(field, "well-formed text", election);
}

/** The bytes of a candidate's value; throws `BAD_OPTION` if etcd or other members could not take it. */
export function checkValue(field: string, value: Bytes, least: 0 | 1): Uint8Array {
  if (typeof value !== "string" && !(value instanceof Uint8Array))
    throw badOption(field, "text or bytes", value);
  const bytes = toBytes(value);
  if (bytes.length < least) throw badOption(field, "not empty", value);
  if (bytes.length > maxValueBytes) {
    throw badOption(field, `at most ${maxValueBytes} bytes`, `${bytes.length} bytes`);
  }
  return bytes;
}

/** A lease as etcdctl and keys name it. */
export function leaseName(leaseId: bigint): string {
  return BigInt.asUintN(64, leaseId).toString(16);
}

/** The key of a candidate: the same as Go's `concurrency` package makes. */
export function candidateKey(election: string, leaseId: bigint): string {
  return `${election}/${leaseName(leaseId)}`;
}
