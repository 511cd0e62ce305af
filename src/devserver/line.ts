import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type CompareSchema,
  Compare_CompareTarget as CompareTarget,
  Event_EventType as EventType,
  type KeyValue,
  RangeRequest_SortOrder as Order,
  type RangeRequestSchema,
  type ResponseHeader,
  RangeRequest_SortTarget as Target,
  type TxnResponse,
  WatchCreateRequestSchema,
} from "../etcd/gen/etcd_pb.ts";
import { refusals, type StatusError } from "./status-error.ts";
import type { Store } from "./store.ts";

/**
 * The keys under one name in order of their creation, as Go's `concurrency` package lines
 * them up for elections and locks: `name/` and the lease in hexadecimal, bound to that lease.
 */
export class Line {
  readonly #store: Store;
  readonly #prefix: Uint8Array;
  readonly #prefixEnd: Uint8Array;

  constructor(store: Store, name: Uint8Array) {
    this.#store = store;
    this.#prefix = withSuffix(name, "/");
    // "0" follows "/" directly.
    this.#prefixEnd = withSuffix(name, "0");
  }

  keyOf(lease: bigint): Uint8Array {
    return withSuffix(this.#prefix, lease.toString(16));
  }

  /** Puts a lease's key, unless it stands already. */
  join(lease: bigint, value: Uint8Array): Place {
    const key = this.keyOf(lease);
    const { header, succeeded, responses } = this.#store.txn({
      compare: [createdAt(key, 0n)],
      success: [{ request: { case: "requestPut", value: { key, value, lease } } }],
      failure: [{ request: { case: "requestRange", value: { key } } }],
    });
    const answer = responses[0]?.response;
    const standing = answer?.case === "responseRange" ? answer.value.kvs[0] : undefined;
    const revision = header?.revision ?? 0n;
    return { key, header, standing, createRevision: succeeded ? revision : (standing?.createRevision ?? 0n) };
  }

  /** The key that was created first, whose owner leads. */
  first(): { readonly header: ResponseHeader | undefined; readonly kv: KeyValue | undefined } {
    const { header, kvs } = this.#store.range(this.#byCreation(Order.ASCEND));
    return { header, kv: kvs[0] };
  }

  /** Waits until no key is left that was created before `createRevision`. Nobody asks whether that one still stands. */
  async untilFirst(createRevision: bigint, signal: AbortSignal): Promise<void> {
    for (;;) {
      const before = { ...this.#byCreation(Order.DESCEND), maxCreateRevision: createRevision - 1n };
      const last = this.#store.range(before).kvs[0];
      if (last === undefined) return;
      await this.#untilDeleted(last.key, signal);
    }
  }

  /** Calls `onChange` after every revision that changes the line, until the result is called. */
  follow(onChange: () => void, onEnd: (error: StatusError) => void): () => void {
    const stream = this.#store.watch({
      send: ({ events }) => {
        if (events.length > 0) onChange();
      },
      end: onEnd,
    });
    stream.create(create(WatchCreateRequestSchema, { key: this.#prefix, rangeEnd: this.#prefixEnd }));
    return () => stream.close();
  }

  #byCreation(sortOrder: Order): MessageInitShape<typeof RangeRequestSchema> {
    return { key: this.#prefix, rangeEnd: this.#prefixEnd, limit: 1n, sortOrder, sortTarget: Target.CREATE };
  }

  #untilDeleted(key: Uint8Array, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        signal.removeEventListener("abort", onAbort);
        stream.close();
        settle();
      };
      const onAbort = (): void => finish(() => reject(refusals.cancelled()));
      const stream = this.#store.watch({
        send: ({ events }) => {
          if (events.some(({ type }) => type === EventType.DELETE)) finish(resolve);
        },
        end: (error) => finish(() => reject(error)),
      });
      stream.create(create(WatchCreateRequestSchema, { key }));
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort);
    });
  }
}

/** Where a lease stands in the line. */
export interface Place {
  readonly key: Uint8Array;
  /** Of the answer by which it joined. */
  readonly header: ResponseHeader | undefined;
  readonly createRevision: bigint;
  /** The key as it was, if it stood there before. */
  readonly standing: KeyValue | undefined;
}

/** Deletes a key if it is still the one created at `revision`. */
export function deleteCreatedAt(store: Store, key: Uint8Array, revision: bigint): TxnResponse {
  return store.txn({
    compare: [createdAt(key, revision)],
    success: [{ request: { case: "requestDeleteRange", value: { key } } }],
  });
}

/** The comparison that holds while `key` is the one created at `revision`; 0 means that there is none. */
export function createdAt(key: Uint8Array, revision: bigint): MessageInitShape<typeof CompareSchema> {
  return { key, target: CompareTarget.CREATE, targetUnion: { case: "createRevision", value: revision } };
}

function withSuffix(bytes: Uint8Array, suffix: string): Uint8Array {
  return new Uint8Array([...bytes, ...Buffer.from(suffix)]);
}
