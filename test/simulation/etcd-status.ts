import type { Metadata, RpcStatus } from "../../src/etcd/transport.ts";

/** How etcd says what is wrong. */
export const statuses: Readonly<Record<StatusName, RpcStatus>> = {
  noLeader: { code: 14, message: "etcdserver: no leader" },
  leaderChanged: { code: 14, message: "etcdserver: leader changed" },
  timedOut: { code: 14, message: "etcdserver: request timed out" },
  invalidToken: { code: 16, message: "etcdserver: invalid auth token" },
  noUser: { code: 3, message: "etcdserver: user name is empty" },
  learner: { code: 14, message: "etcdserver: rpc not supported for learner" },
};

type StatusName = "noLeader" | "leaderChanged" | "timedOut" | "invalidToken" | "noUser" | "learner";

/** Whether the client wants to hear at once that there is no leader. */
export function needsLeader({ hasleader }: Metadata): boolean {
  return hasleader === "true";
}
