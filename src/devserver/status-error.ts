import { grpc } from "../etcd/failure.ts";

export type GrpcCode = (typeof grpc)[keyof typeof grpc];

/** An answer other than OK: what a client of etcd gets as its gRPC status. */
export class StatusError extends Error {
  override readonly name: string = "StatusError";
  readonly code: GrpcCode;

  constructor(code: GrpcCode, message: string) {
    super(message);
    this.code = code;
  }
}

const { invalidArgument, notFound, failedPrecondition, outOfRange, unavailable } = grpc;

/** etcd's own refusals, with its codes and its words (etcd's `rpctypes/error.go`): clients compare both. */
export const refusals = {
  emptyKey: (): StatusError => new StatusError(invalidArgument, "etcdserver: key is not provided"),
  keyNotFound: (): StatusError => new StatusError(invalidArgument, "etcdserver: key not found"),
  valueProvided: (): StatusError => new StatusError(invalidArgument, "etcdserver: value is provided"),
  leaseProvided: (): StatusError => new StatusError(invalidArgument, "etcdserver: lease is provided"),
  tooManyOps: (): StatusError =>
    new StatusError(invalidArgument, "etcdserver: too many operations in txn request"),
  duplicateKey: (): StatusError =>
    new StatusError(invalidArgument, "etcdserver: duplicate key given in txn request"),
  invalidSortOption: (): StatusError => new StatusError(invalidArgument, "etcdserver: invalid sort option"),
  requestTooLarge: (): StatusError => new StatusError(invalidArgument, "etcdserver: request is too large"),
  compacted: (): StatusError =>
    new StatusError(outOfRange, "etcdserver: mvcc: required revision has been compacted"),
  futureRevision: (): StatusError =>
    new StatusError(outOfRange, "etcdserver: mvcc: required revision is a future revision"),
  noSpace: (): StatusError =>
    new StatusError(grpc.resourceExhausted, "etcdserver: mvcc: database space exceeded"),
  corrupt: (): StatusError => new StatusError(grpc.dataLoss, "etcdserver: corrupt cluster"),
  leaseNotFound: (): StatusError => new StatusError(notFound, "etcdserver: requested lease not found"),
  leaseExists: (): StatusError => new StatusError(failedPrecondition, "etcdserver: lease already exists"),
  leaseTtlTooLarge: (): StatusError => new StatusError(outOfRange, "etcdserver: too large lease TTL"),
  authNotEnabled: (): StatusError =>
    new StatusError(failedPrecondition, "etcdserver: authentication is not enabled"),
  noLeader: (): StatusError => new StatusError(unavailable, "etcdserver: no leader"),
  stopped: (): StatusError => new StatusError(unavailable, "etcdserver: server stopped"),
  cancelled: (): StatusError => new StatusError(grpc.cancelled, "context canceled"),
  // Plain Go errors reach a client with the code "unknown".
  electionNoLeader: (): StatusError => new StatusError(grpc.unknown, "election: no leader"),
  electionNotLeader: (): StatusError => new StatusError(grpc.unknown, "election: not leader"),
  missingLeaderKey: (): StatusError => new StatusError(grpc.unknown, '"leader" field must be provided'),
  lockSessionExpired: (): StatusError => new StatusError(grpc.unknown, "mutex: session is expired"),
} as const;
