import { toText } from "../etcd/bytes.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { type KeyValue, KV } from "../etcd/gen/etcd_pb.ts";
import { created, deleteOp, getOp, kvsOf, modified, putOp } from "../etcd/ops.ts";
import {
  historyPrefix,
  mostRecords,
  newestRecords,
  recordIn,
  recordKey,
  type StoredRecord,
} from "./term-record.ts";

/** How often a write looks anew when somebody else has written in between. */
const mostLooks = 5;
/** etcd takes 128 operations in one transaction. */
const mostDeletes = 100;

/** The fields of a record, for its JSON. */
export type RecordFields = Readonly<Record<string, unknown>>;

export interface TermLogOptions {
  readonly etcd: Etcd;
  readonly election: string;
  readonly metaPrefix: string;
  /** Ends the request that is about to be sent. */
  readonly signal: () => AbortSignal;
}

/** The records of an election's terms: one key for each token, every write guarded by what it was based on. */
export class TermLog {
  readonly #options: TermLogOptions;

  constructor(options: TermLogOptions) {
    this.#options = options;
  }

  /** The newest records by their token. Rejects as requests to etcd do. */
  async newest(limit: number): Promise<ReadonlyMap<bigint, StoredRecord>> {
    const { etcd, election, metaPrefix } = this.#options;
    const request = { success: [newestRecords(election, limit, metaPrefix)] };
    const { response } = await etcd.call(KV.method.txn, request, { ...this.#limits, idempotent: true });
    const records = kvsOf(response.responses[0]).flatMap((kv) => recordIn(kv) ?? []);
    return new Map(records.map((each) => [each.token, each]));
  }

  /**
   * Writes a record as `change` makes it of the one that stands, `undefined` for none; `known` spares a look. Where
   * `change` gives nothing the record stays. Resolves to what stands then. Rejects as requests to etcd do.
   */
  async write(
    token: bigint,
    known: StoredRecord | undefined,
    change: (stored: StoredRecord | undefined) => RecordFields | undefined,
  ): Promise<StoredRecord | undefined> {
    const { etcd, election, metaPrefix } = this.#options;
    const key = recordKey(election, token, metaPrefix);
    let stored = known;
    for (let look = 0; look < mostLooks; look++) {
      const fields = change(stored);
      if (fields === undefined) return stored;
      const value = JSON.stringify({ token: Number(token), ...fields });
      const compare = [stored === undefined ? created(key, 0n) : modified(key, stored.revision)];
      const request = { compare, success: [putOp(key, value), getOp(key)], failure: [getOp(key)] };
      const { response } = await etcd.call(KV.method.txn, request, { ...this.#limits, idempotent: true });
      const kv: KeyValue | undefined = kvsOf(response.responses.at(-1))[0];
      stored = kv === undefined ? undefined : recordIn(kv);
      // An earlier try may have done it, and its answer was lost.
      if (response.succeeded || (kv !== undefined && toText(kv.value) === value)) return stored;
    }
    return stored;
  }

  /** Deletes the oldest records that are too many. Rejects as requests to etcd do. */
  async prune(): Promise<void> {
    const { etcd, election, metaPrefix } = this.#options;
    const prefix = historyPrefix(election, metaPrefix);
    const { count } = await etcd.range(prefix, { prefix: true, countOnly: true, ...this.#limits });
    const limit = Math.min(Number(count) - mostRecords, mostDeletes);
    if (limit <= 0) return;
    const { kvs } = await etcd.range(prefix, { prefix: true, keysOnly: true, limit, ...this.#limits });
    const request = {
      compare: kvs.map((kv) => created(kv.key, kv.createRevision)),
      success: kvs.map((kv) => deleteOp(kv.key)),
    };
    await etcd.call(KV.method.txn, request, { ...this.#limits, idempotent: true });
  }

  /** Whether a lease is still there. Rejects as requests to etcd do. */
  async stands(leaseId: bigint): Promise<boolean> {
    if (leaseId === 0n) return true;
    return (await this.#options.etcd.leaseTimeToLive(leaseId, this.#limits)).TTL >= 0n;
  }

  /** One attempt at a time: repeating is up to whoever knows how long that makes sense. */
  get #limits(): CallOptions {
    const { etcd, signal } = this.#options;
    return { timeoutMs: etcd.attemptTimeoutMs, signal: signal() };
  }
}
