import { create } from "@bufbuild/protobuf";
import {
  type Lock,
  type LockRequest,
  type LockResponse,
  LockResponseSchema,
  UnlockResponseSchema,
} from "../etcd/gen/v3lock_pb.ts";
import { leaseOf, recoded } from "./election-service.ts";
import type { ServiceHandlers } from "./grpc-service.ts";
import { Line } from "./line.ts";
import { refusals } from "./status-error.ts";
import type { Store } from "./store.ts";

/** Locks held by the server, for clients that have only plain gRPC. */
export function lockHandlers(store: Store): ServiceHandlers<typeof Lock> {
  return {
    lock: recoded((request, signal) => lock(store, request, signal)),
    unlock: recoded(({ key }) => create(UnlockResponseSchema, { header: store.deleteRange({ key }).header })),
  };
}

async function lock(store: Store, request: LockRequest, signal: AbortSignal): Promise<LockResponse> {
  const line = new Line(store, request.name);
  const { key, header, createRevision } = line.join(leaseOf(store, request.lease), new Uint8Array(0));
  if (line.first().kv?.createRevision === createRevision) return create(LockResponseSchema, { header, key });
  try {
    await line.untilFirst(createRevision, signal);
  } catch (error) {
    // As in Go's package: whatever ended the wait, the key must not keep others waiting.
    store.deleteRange({ key });
    throw error;
  }
  const mine = store.range({ key });
  if (mine.kvs.length === 0) throw refusals.lockSessionExpired();
  return create(LockResponseSchema, { header: mine.header, key });
}
