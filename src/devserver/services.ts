import type { DescService } from "@bufbuild/protobuf";
import { Auth, Cluster, KV, Lease, Maintenance, Watch } from "../etcd/gen/etcd_pb.ts";
import { Election } from "../etcd/gen/v3election_pb.ts";
import { Lock } from "../etcd/gen/v3lock_pb.ts";
import { electionHandlers } from "./election-service.ts";
import {
  authHandlers,
  clusterHandlers,
  kvHandlers,
  leaseHandlers,
  maintenanceHandlers,
  watchHandlers,
} from "./etcd-services.ts";
import type { Service, ServiceHandlers } from "./grpc-service.ts";
import { lockHandlers } from "./lock-service.ts";
import type { Store } from "./store.ts";

/** All that a member of etcd serves. `clientUrl` is asked late: a port is known only once a server listens. */
export function servicesOf(store: Store, clientUrl: () => string): readonly Service[] {
  return [
    service(KV, kvHandlers(store)),
    service(Watch, watchHandlers(store)),
    service(Lease, leaseHandlers(store)),
    service(Cluster, clusterHandlers(store, clientUrl)),
    service(Maintenance, maintenanceHandlers(store)),
    service(Auth, authHandlers(store)),
    service(Election, electionHandlers(store)),
    service(Lock, lockHandlers(store)),
  ];
}

function service<S extends DescService>(desc: S, handlers: ServiceHandlers<S>): Service {
  return { desc, handlers };
}
