import { backoffMs, onAbort, sleep } from "../waiting.ts";
import type { CallOptions, Etcd } from "./etcd.ts";
import { EtcdError, etcdError, grpc } from "./failure.ts";
import { Lease } from "./gen/etcd_pb.ts";
import type { RpcStatus } from "./transport.ts";

/** @internal A renewal by itself. */
export interface Renewed {
  /** The instant before the request was sent. */
  readonly sentAt: number;
  readonly ttlSeconds: number;
}

/** @internal Renews a lease once. Rejects with `SESSION_LOST` if it no longer exists. */
export async function keepAliveOnce(
  etcd: Etcd,
  leaseId: bigint,
  options: CallOptions = {},
): Promise<Renewed> {
  const { timeoutMs = 10_000, attemptTimeoutMs = etcd.attemptTimeoutMs, signal } = options;
  const limit = etcd.clock.now() + timeoutMs;
  for (let failures = 1; ; failures++) {
    signal?.throwIfAborted();
    await etcd.authorize(options);
    const result = await attempt(etcd, leaseId, attemptTimeoutMs, signal);
    if ("ttlSeconds" in result) {
      if (result.ttlSeconds > 0) return result;
      const gone = { code: grpc.notFound, message: "etcdserver: requested lease not found" };
      throw etcdError(gone, `keepalive of lease ${leaseId.toString(16)}`, "etcd");
    }
    if (etcd.clock.now() >= limit) {
      const message = `keepalive: no usable answer from etcd within ${timeoutMs} ms (${result.message})`;
      throw new EtcdError("ETCD_UNAVAILABLE", message, result.code, true);
    }
    await sleep(etcd.clock, backoffMs(etcd.clock, failures), signal);
  }
}

function attempt(
  etcd: Etcd,
  leaseId: bigint,
  attemptTimeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<Renewed | RpcStatus> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      cancel();
      forget();
      forgetClosed();
      stream.cancel();
    };
    const stream = etcd.openStream(Lease.method.leaseKeepAlive, {
      message: (response) => {
        settle();
        stream.succeeded();
        resolve({ sentAt, ttlSeconds: Number(response.TTL) });
      },
      end: (status) => {
        settle();
        stream.failed(status);
        resolve(status);
      },
    });
    const sentAt = etcd.clock.now();
    const patience = attemptTimeoutMs * stream.openTimeoutFactor;
    let forget = (): void => {};
    let forgetClosed = (): void => {};
    const cancel = etcd.clock.at(sentAt + patience, () => {
      settle();
      stream.stalled();
      resolve({ code: grpc.deadlineExceeded, message: `no answer within ${patience} ms` });
    });
    const giveUp = (reason: unknown): void => {
      settle();
      reject(reason);
    };
    stream.send({ ID: leaseId });
    forget = onAbort(signal, () => giveUp(signal?.reason));
    forgetClosed = onAbort(etcd.closedSignal, () => giveUp(etcd.closedSignal.reason));
  });
}
