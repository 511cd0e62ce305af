import { metaFolder } from "../concurrency/naming.ts";
import { keyRange, toText } from "../etcd/bytes.ts";
import type { KeyValue } from "../etcd/gen/etcd_pb.ts";
import { type Op, rangeOp, rangeSort } from "../etcd/ops.ts";
import { objectIn } from "../json.ts";

/**
 * A term as it is recorded in etcd, past or present. Instants are ISO dates by the clock of the machine that wrote them,
 * for people to read: those of two records may come from two clocks.
 */
export interface TermRecord {
  readonly token: bigint;
  /** The leader's id. */
  readonly leader: string;
  /** The leader's data centre or availability zone. */
  readonly zone?: string;
  /** When it was elected; of one that is no member of ours, when a member saw it lead. */
  readonly startedAt?: string;
  /** Missing while the term lasts; and where nobody has completed the record yet, as after the last one has died. */
  readonly endedAt?: string;
  /** Why it ended: the leader's word, else what its successor found. */
  readonly cause?: string;
  /** Milliseconds for which nobody led before: one clock's measure, where the end before was seen. */
  readonly gapMs?: number;
}

/** A record as it stands in etcd. */
export interface StoredRecord extends TermRecord {
  readonly key: string;
  /** The lease of the leader's key; 0 where that is not told. */
  readonly leaseId: bigint;
  /** The revision at which it was last changed. */
  readonly revision: bigint;
  readonly json: Readonly<Record<string, unknown>>;
}

/** So many records are kept; the oldest go first. */
export const mostRecords = 200;

/** How many digits a token has in a key, so that keys sort as tokens do: the largest revision fits. */
const digits = 20;

/** The prefix of all records of an election's terms. */
export function historyPrefix(election: string, metaPrefix?: string): string {
  return `${metaFolder(election, metaPrefix)}history/`;
}

/** The key of a term's record. */
export function recordKey(election: string, token: bigint, metaPrefix?: string): string {
  return `${historyPrefix(election, metaPrefix)}${String(token).padStart(digits, "0")}`;
}

/** Reads so many of the newest records, the newest first; 0 for all. */
export function newestRecords(election: string, limit: number, metaPrefix?: string): Op {
  const sort = rangeSort({ by: "key", order: "descend" });
  const prefix = historyPrefix(election, metaPrefix);
  // Keys that begin with a digit: what else there is must not push records out.
  const range = keyRange(`${prefix}0`, { rangeEnd: `${prefix}:` });
  return rangeOp({ ...range, ...sort, limit: BigInt(limit) });
}

/** The token that a record's key names; `undefined` for what is no record's key. */
export function tokenOf(key: string): bigint | undefined {
  const name = key.slice(key.lastIndexOf("/") + 1);
  return new RegExp(`^\\d{${digits}}$`).test(name) ? BigInt(name) : undefined;
}

/** A record by its key; `undefined` for what is none. Fields that are missing or of another type are left out. */
export function recordIn(kv: KeyValue): StoredRecord | undefined {
  const key = toText(kv.key);
  const token = tokenOf(key);
  if (token === undefined) return undefined;
  const json = objectIn(toText(kv.value));
  const { leader, leaseId, gapMs } = json;
  const texts = Object.entries(json).filter(
    ([name, value]) => textFields.has(name) && typeof value === "string",
  );
  return {
    ...{ key, token, leader: typeof leader === "string" ? leader : "" },
    ...Object.fromEntries(texts),
    ...(typeof gapMs === "number" && gapMs >= 0 ? { gapMs } : {}),
    leaseId: typeof leaseId === "string" && /^[0-9a-f]{1,16}$/.test(leaseId) ? BigInt(`0x${leaseId}`) : 0n,
    revision: kv.modRevision,
    json,
  };
}

const textFields: ReadonlySet<string> = new Set(["zone", "startedAt", "endedAt", "cause"]);
