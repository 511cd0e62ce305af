import { create } from "@bufbuild/protobuf";
import { grpc } from "../etcd/failure.ts";
import {
  type CampaignRequest,
  type CampaignResponse,
  CampaignResponseSchema,
  type Election,
  type LeaderKey,
  type LeaderResponse,
  LeaderResponseSchema,
  ProclaimResponseSchema,
  ResignResponseSchema,
} from "../etcd/gen/v3election_pb.ts";
import type { Answers, ServiceHandlers } from "./grpc-service.ts";
import { createdAt, deleteCreatedAt, Line } from "./line.ts";
import { refusals, StatusError } from "./status-error.ts";
import type { Store } from "./store.ts";

/** The TTL of the lease that a campaign without one gets, as in Go's package. Nobody keeps it alive. */
const defaultTtlSeconds = 60n;

/** Elections carried out by the server, for clients that have only plain gRPC. */
export function electionHandlers(store: Store): ServiceHandlers<typeof Election> {
  return {
    campaign: recoded((request, signal) => campaign(store, request, signal)),
    proclaim: recoded(({ leader, value }) =>
      create(ProclaimResponseSchema, { header: proclaim(store, given(leader), value) }),
    ),
    leader: recoded(({ name }) => {
      const { header, kv } = new Line(store, name).first();
      if (kv === undefined) throw refusals.electionNoLeader();
      return create(LeaderResponseSchema, { header, kv });
    }),
    observe: ({ name }, answers) => observe(new Line(store, name), answers),
    resign: recoded(({ leader }) => {
      const { key, rev } = given(leader);
      return create(ResignResponseSchema, { header: deleteCreatedAt(store, key, rev).header });
    }),
  };
}

/** The lease that a request brings, or a new one. */
export function leaseOf(store: Store, lease: bigint): bigint {
  return lease === 0n ? store.leaseGrant({ TTL: defaultTtlSeconds }).ID : lease;
}

/** etcd carries these services out as a client of itself, and a refusal loses its code on the way. */
export function recoded<Request, Answer>(
  handler: (request: Request, signal: AbortSignal) => Answer | Promise<Answer>,
): (request: Request, signal: AbortSignal) => Promise<Answer> {
  return async (request, signal) => {
    try {
      return await handler(request, signal);
    } catch (error) {
      if (!(error instanceof StatusError) || error.code === grpc.unavailable) throw error;
      throw new StatusError(grpc.unknown, error.message);
    }
  };
}

async function campaign(
  store: Store,
  request: CampaignRequest,
  signal: AbortSignal,
): Promise<CampaignResponse> {
  const { name, value } = request;
  const lease = leaseOf(store, request.lease);
  const line = new Line(store, name);
  const { key, header, createRevision: rev, standing } = line.join(lease, value);
  const leader = { name, key, rev, lease };
  if (standing !== undefined && Buffer.compare(standing.value, value) !== 0) proclaim(store, leader, value);
  try {
    await line.untilFirst(rev, signal);
  } catch (error) {
    if (signal.aborted) deleteCreatedAt(store, key, rev);
    throw error;
  }
  return create(CampaignResponseSchema, { header, leader });
}

function proclaim(store: Store, { key, rev, lease }: Omit<LeaderKey, "$typeName">, value: Uint8Array) {
  const { header, succeeded } = store.txn({
    compare: [createdAt(key, rev)],
    success: [{ request: { case: "requestPut", value: { key, value, lease } } }],
  });
  if (!succeeded) throw refusals.electionNotLeader();
  return header;
}

/** Sends each leader and each of its values; a line that is empty for a while goes without saying. */
function observe(line: Line, answers: Answers<LeaderResponse>): () => void {
  let told = 0n;
  const tell = (): void => {
    const { header, kv } = line.first();
    if (kv === undefined || kv.modRevision === told) return;
    told = kv.modRevision;
    answers.send(create(LeaderResponseSchema, { header, kv }));
  };
  tell();
  return line.follow(tell, (error) => answers.end(error));
}

function given(leader: LeaderKey | undefined): LeaderKey {
  if (leader === undefined) throw refusals.missingLeaderKey();
  return leader;
}
