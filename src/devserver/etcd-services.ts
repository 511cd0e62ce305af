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
import type { ServiceHandlers } from "./grpc-service.ts";
import type { Store } from "./store.ts";

export function kvHandlers(store: Store): ServiceHandlers<typeof KV> {
  return {
    range: (request) => store.range(request),
    put: (request) => store.put(request),
    deleteRange: (request) => store.deleteRange(request),
    txn: (request) => store.txn(request),
    compact: (request) => store.compact(request),
  };
}

export function leaseHandlers(store: Store): ServiceHandlers<typeof Lease> {
  return {
    leaseGrant: (request) => store.leaseGrant(request),
    leaseRevoke: (request) => store.leaseRevoke(request),
    leaseTimeToLive: (request) => store.leaseTimeToLive(request),
    leaseLeases: (request) => store.leaseLeases(request),
    leaseKeepAlive: (answers) => ({
      receive: (request) => answers.send(store.leaseKeepAlive(request)),
      finish: () => answers.end(),
      gone: () => {},
    }),
  };
}

export function watchHandlers(store: Store): ServiceHandlers<typeof Watch> {
  return {
    // A client that only ends its side still wants its events.
    watch: (answers, { hasleader }) => {
      const stream = store.watch(answers, { requiresLeader: hasleader === "true" });
      return { receive: (request) => stream.handle(request), gone: () => stream.close() };
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
