import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import type { Clock } from "../clock.ts";
import { EtcdError, etcdError, grpc } from "./failure.ts";
import { Lease, type LeaseGrantResponse, LeaseGrantResponseSchema } from "./gen/etcd_pb.ts";
import { type Answer, type CallOptions, type Requests, unary } from "./requests.ts";

/** How to ask for a lease. */
export interface LeaseGrantOptions extends CallOptions {
  /** An id that no lease has; by default a random one. */
  readonly leaseId?: bigint;
}

/**
 * Grants a lease. The client chooses the id, so that a grant whose answer was lost can be repeated; one that is given
 * up takes the lease back that it may have left.
 */
export async function grantLease(
  requests: Requests,
  ttlSeconds: number,
  options: LeaseGrantOptions,
): Promise<Answer<LeaseGrantResponse>> {
  const { leaseId: chosenId, ...limits } = options;
  const leaseId = chosenId ?? newLeaseId(requests.clock);
  const grant = unary(Lease.method.leaseGrant, { TTL: BigInt(ttlSeconds), ID: leaseId });
  // The lease may live since the first attempt, so that is where its time counts from.
  let firstSentAt: number | undefined;
  const noting = {
    ...grant,
    send: (...args: Parameters<typeof grant.send>): ReturnType<typeof grant.send> => {
      firstSentAt ??= requests.clock.now();
      return grant.send(...args);
    },
  };
  try {
    return await requests.ask(noting, { ...limits, idempotent: true });
  } catch (error) {
    if (firstSentAt === undefined || chosenId !== undefined) throw error;
    const exists = error instanceof EtcdError && error.message.includes("lease already exists");
    // Nobody else has this id: an earlier attempt did reach etcd.
    if (exists) return { response: await granted(requests, leaseId, limits), sentAt: firstSentAt };
    const refused = error instanceof EtcdError && !error.mayHaveApplied;
    if (!refused && !requests.closedSignal.aborted) takeBack(requests, leaseId);
    throw error;
  }
}

/** The answer that was lost. The TTL is not known to be the one asked for. */
async function granted(
  requests: Requests,
  leaseId: bigint,
  limits: CallOptions,
): Promise<LeaseGrantResponse> {
  const question = unary(Lease.method.leaseTimeToLive, { ID: leaseId });
  const { response } = await requests.ask(question, { ...limits, idempotent: true });
  if (response.TTL <= 0n) {
    const message = "etcdserver: requested lease not found";
    throw etcdError({ code: grpc.notFound, message }, grantName, "etcd", true);
  }
  const init: MessageInitShape<typeof LeaseGrantResponseSchema> = { ID: leaseId, TTL: response.grantedTtl };
  return create(
    LeaseGrantResponseSchema,
    response.header === undefined ? init : { ...init, header: response.header },
  );
}

const grantName = Lease.method.leaseGrant.name;

/** Once is enough: what is not revoked ends by itself. */
function takeBack(requests: Requests, leaseId: bigint): void {
  const question = unary(Lease.method.leaseRevoke, { ID: leaseId });
  requests.ask(question, { idempotent: true }).catch((error: unknown) => {
    requests.logger.debug({ error, leaseId: leaseId.toString(16) }, "a lease that was given up may live on");
  });
}

/** Positive and never 0, as etcd's own ids are. */
function newLeaseId(clock: Clock): bigint {
  const high = BigInt(Math.floor(clock.random() * 0x7fff_ffff));
  const low = BigInt(Math.floor(clock.random() * 0x1_0000_0000));
  return (high << 32n) | low | 1n;
}
