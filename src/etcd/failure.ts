import { type ErrorCode, SuccessionError } from "../errors.ts";
import type { RpcStatus } from "./transport.ts";

/**
 * What to do about an answer that is not the one asked for.
 *
 * - `retry`: the same endpoint, after a pause.
 * - `next-endpoint`: another member may be better off.
 * - `authenticate`: get a new token, then repeat.
 * - `lease-gone`: the server's word that the lease no longer exists.
 * - `fatal`: asking again cannot help.
 */
export type Remedy = "retry" | "next-endpoint" | "authenticate" | "lease-gone" | "fatal";

/** What an etcd status means to this client. */
export interface Failure {
  readonly remedy: Remedy;
  /**
   * The code of the error where there is no remedy, as for `fatal`, or for `authenticate` without a user. One that
   * did not help in time gives `ETCD_UNAVAILABLE`.
   */
  readonly code: ErrorCode;
  /** Whether the request may have taken effect all the same. */
  readonly mayHaveApplied: boolean;
}

/** The numbers of gRPC's statuses. */
export const grpc = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

interface Rule {
  /** A part of the message; rules are tried in order. */
  readonly says?: string;
  /** The gRPC status, where the message alone does not tell. */
  readonly status?: number;
  readonly remedy: Remedy;
  readonly code: ErrorCode;
  /** Refused before anything was proposed to the cluster, so repeating is safe for any request. */
  readonly refused?: true;
}

/**
 * Every error of etcd 3.4 to 3.6, by its text: releases differ in the status they send with a text (a text
 * may come as `Unknown`), so the text comes first. Source: the list of gRPC errors in etcd's `rpctypes`.
 */
const rules: readonly Rule[] = [
  // Trouble in the cluster: another member, or the same one a moment later, will do.
  { says: "etcdserver: no leader", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE", refused: true },
  { says: "etcdserver: not leader", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE", refused: true },
  { says: "raft proposal dropped", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE", refused: true },
  { says: "etcdserver: leader changed", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE" },
  { says: "etcdserver: server stopped", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE" },
  { says: "etcdserver: request timed out", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE" },
  { says: "etcdserver: unhealthy cluster", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE" },
  { says: "etcdserver: corrupt", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE", refused: true },
  { says: "not supported for learner", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE", refused: true },
  { says: "etcdserver: not capable", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE", refused: true },
  { says: "cluster version not found", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE", refused: true },
  { says: "etcdserver: too many requests", remedy: "retry", code: "ETCD_UNAVAILABLE", refused: true },
  { says: "database space exceeded", remedy: "retry", code: "ETCD_UNAVAILABLE", refused: true },

  // Who we are. Without a token etcd sees an empty user name. Some texts come with etcd's inner prefix, `auth: `.
  { says: "invalid auth token", remedy: "authenticate", code: "AUTH_FAILED", refused: true },
  { says: "revision of auth store is old", remedy: "authenticate", code: "AUTH_FAILED", refused: true },
  { says: "revision in header is old", remedy: "authenticate", code: "AUTH_FAILED", refused: true },
  { says: "user name is empty", remedy: "authenticate", code: "AUTH_FAILED", refused: true },
  { says: "user name not found", remedy: "fatal", code: "AUTH_FAILED", refused: true },
  { says: "authentication failed", remedy: "fatal", code: "AUTH_FAILED", refused: true },
  { says: "authentication is not enabled", remedy: "fatal", code: "AUTH_FAILED", refused: true },
  { says: "permission denied", remedy: "fatal", code: "PERMISSION_DENIED", refused: true },

  // What we asked for.
  { says: "requested lease not found", remedy: "lease-gone", code: "SESSION_LOST", refused: true },
  { says: "required revision has been compacted", remedy: "fatal", code: "COMPACTED", refused: true },
  { says: "request is too large", remedy: "fatal", code: "ETCD_REFUSED", refused: true },
  { says: "received message larger than max", remedy: "fatal", code: "ETCD_REFUSED", refused: true },
  // The answer, that is: what was asked has been done.
  { says: "message larger than max", remedy: "fatal", code: "ETCD_REFUSED" },
  // A watch is refused by a message, which carries no status.
  { says: "watcher range is empty", remedy: "fatal", code: "ETCD_REFUSED", refused: true },

  // What the text does not tell, the status does.
  { status: grpc.unauthenticated, remedy: "authenticate", code: "AUTH_FAILED", refused: true },
  { status: grpc.permissionDenied, remedy: "fatal", code: "PERMISSION_DENIED", refused: true },
  { status: grpc.invalidArgument, remedy: "fatal", code: "ETCD_REFUSED", refused: true },
  { status: grpc.notFound, remedy: "fatal", code: "ETCD_REFUSED", refused: true },
  { status: grpc.failedPrecondition, remedy: "fatal", code: "ETCD_REFUSED", refused: true },
  { status: grpc.outOfRange, remedy: "fatal", code: "ETCD_REFUSED", refused: true },
  // No etcd at all, or a proxy without one behind it: perhaps this endpoint alone.
  { status: grpc.unimplemented, remedy: "next-endpoint", code: "ETCD_UNAVAILABLE", refused: true },
  { status: grpc.resourceExhausted, remedy: "retry", code: "ETCD_UNAVAILABLE" },
  // No connection was there to carry the request.
  { says: "ECONNREFUSED", remedy: "next-endpoint", code: "ETCD_UNAVAILABLE", refused: true },
  // Unavailable, cancelled, timed out, reset, and whatever a later etcd may invent.
  { remedy: "next-endpoint", code: "ETCD_UNAVAILABLE" },
];

/** What a status means, by the first rule that fits it. */
export function classify(status: RpcStatus): Failure {
  // Servers do not agree on capitals either.
  const message = status.message.toLowerCase();
  const rule = rules.find(
    (each) =>
      (each.says === undefined || message.includes(each.says.toLowerCase())) &&
      (each.status === undefined || status.code === each.status),
  );
  // The last rule fits everything.
  const { remedy, code, refused } = rule ?? { remedy: "next-endpoint", code: "ETCD_UNAVAILABLE" };
  return { remedy, code, mayHaveApplied: refused !== true };
}

/** An error that came from etcd or from the way to it. */
export class EtcdError extends SuccessionError {
  override readonly name: string = "EtcdError";
  /** The number of the gRPC status; 14 (unavailable) where no endpoint gave a usable answer in time. */
  readonly grpcStatus: number;
  /** Whether the request may have taken effect although it failed. */
  readonly mayHaveApplied: boolean;

  constructor(
    code: ErrorCode,
    message: string,
    grpcStatus: number,
    mayHaveApplied: boolean,
    options?: ErrorOptions,
  ) {
    super(code, message, options);
    this.grpcStatus = grpcStatus;
    this.mayHaveApplied = mayHaveApplied;
  }
}

/** Whether the user is known and lacks the right. */
export function isPermissionDenied(error: unknown): error is EtcdError {
  return error instanceof EtcdError && error.code === "PERMISSION_DENIED";
}

/** The error for a status that no remedy helped against. An earlier attempt may have applied where the last did not. */
export function etcdError(
  status: RpcStatus,
  what: string,
  endpoint: string,
  mayHaveApplied: boolean = classify(status).mayHaveApplied,
): EtcdError {
  const { code } = classify(status);
  return new EtcdError(code, `${what} at ${endpoint}: ${status.message}`, status.code, mayHaveApplied);
}

/** Whether an error is etcd's word that the lease no longer exists. */
export function isLeaseGone(error: unknown): boolean {
  return error instanceof EtcdError && error.code === "SESSION_LOST";
}
