import { setMaxListeners } from "node:events";
import { create } from "@bufbuild/protobuf";
import {
  type Auth,
  type Cluster,
  type KV,
  type Lease,
  type Maintenance,
  MemberListResponseSchema,
  type Watch,
} from "../etcd/gen/etcd_pb.ts";
import { onAbort } from "../waiting.ts";
import type { ServiceHandlers } from "./grpc-service.ts";
import { grpcStatus } from "./grpc-service.ts";
import { refusals } from "./status-error.ts";
import type { Store } from "./store.ts";
import type { WatchStream } from "./watch-stream.ts";

export function kvHandlers(store: Store): ServiceHandlers<typeof KV> {
  return {
    range: (request) => store.range(request),
    put: (request) => store.put(request),
    deleteRange: (request) => store.deleteRange(request),
    txn: (request) => store.txn(request),
    compact: (request) => store.compact(request),
  };
}

/** `closing` ends the streams: the store has nothing to end them by. */
export function leaseHandlers(store: Store, closing: AbortSignal): ServiceHandlers<typeof Lease> {
  // One listener a stream: hundreds of clients are no leak.
  setMaxListeners(0, closing);
  return {
    leaseGrant: (request) => store.leaseGrant(request),
    leaseRevoke: (request) => store.leaseRevoke(request),
    leaseTimeToLive: (request) => store.leaseTimeToLive(request),
    leaseLeases: (request) => store.leaseLeases(request),
    leaseKeepAlive: (call) => {
      const end = (error: unknown): void => void call.emit("error", grpcStatus(error));
      const forget = onAbort(closing, () => end(refusals.stopped()));
      call.on("cancelled", forget);
      call.on("data", (request) => {
        try {
          call.write(store.leaseKeepAlive(request));
        } catch (error) {
          forget();
          end(error);
        }
      });
      call.on("end", () => {
        forget();
        call.end();
      });
    },
  };
}

export function watchHandlers(store: Store): ServiceHandlers<typeof Watch> {
  return {
    watch: (call) => {
      let stream: WatchStream;
      const end = (error: unknown): void => void call.emit("error", grpcStatus(error));
      try {
        const requiresLeader = call.metadata.get("hasleader").includes("true");
        stream = store.watch({ send: (response) => void call.write(response), end }, { requiresLeader });
      } catch (error) {
        end(error);
        return;
      }
      call.on("data", (request) => stream.handle(request));
      // A client that only ends its side still wants its events; one that is gone is "cancelled".
      call.on("cancelled", () => stream.close());
      call.on("close", () => stream.close());
    },
  };
}

export function maintenanceHandlers(store: Store): ServiceHandlers<typeof Maintenance> {
  return {
    alarm: (request) => store.alarm(request),
    status: (request) => store.status(request),
  };
}

export function authHandlers(store: Store): ServiceHandlers<typeof Auth> {
  return { authenticate: (request) => store.authenticate(request) };
}

/** `clientUrl` is asked late: the port is known only once the server listens. */
export function clusterHandlers(store: Store, clientUrl: () => string): ServiceHandlers<typeof Cluster> {
  return {
    memberList: () =>
      create(MemberListResponseSchema, {
        header: store.header(),
        members: [{ ID: store.memberId, name: "succession-dev", clientUrls: [clientUrl()] }],
      }),
  };
}
