import type { CallOptions, Etcd } from "./etcd.ts";
import { etcdError, grpc } from "./failure.ts";
import { Lease, type LeaseKeepAliveResponse } from "./gen/etcd_pb.ts";
import type { Question } from "./requests.ts";
import type { Call, RpcStatus, Stream } from "./transport.ts";

/** A renewal by itself. */
export interface Renewed {
  /** The instant before the request was sent. */
  readonly sentAt: number;
  readonly ttlSeconds: number;
}

/** Renews a lease once. Rejects with `SESSION_LOST` if it no longer exists. */
export async function keepAliveOnce(
  etcd: Etcd,
  leaseId: bigint,
  options: CallOptions = {},
): Promise<Renewed> {
  const { response, sentAt } = await etcd.ask(renewal(leaseId), { ...options, idempotent: true });
  if (response.TTL > 0n) return { sentAt, ttlSeconds: Number(response.TTL) };
  const gone = { code: grpc.notFound, message: "etcdserver: requested lease not found" };
  throw etcdError(gone, `keepalive of lease ${leaseId.toString(16)}`, "etcd");
}

/** etcd renews on streams alone: one is opened for one answer, and given up with it. */
function renewal(leaseId: bigint): Question<LeaseKeepAliveResponse> {
  return {
    name: Lease.method.leaseKeepAlive.name,
    send: (transport, metadata): Call<LeaseKeepAliveResponse> => {
      let stream: Stream<{ ID: bigint }> | undefined;
      const response = new Promise<LeaseKeepAliveResponse>((resolve, reject) => {
        stream = transport.stream(Lease.method.leaseKeepAlive, metadata, {
          message: (message) => {
            resolve(message);
            stream?.cancel();
          },
          end: (status: RpcStatus) => reject(status),
        });
        stream.send({ ID: leaseId });
      });
      return { response, cancel: () => stream?.cancel() };
    },
  };
}
