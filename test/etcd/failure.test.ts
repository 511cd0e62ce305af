import { expect, test } from "vitest";
import type { ErrorCode } from "../../src/errors.ts";
import { classify, etcdError, grpc, isLeaseGone, type Remedy } from "../../src/etcd/failure.ts";

type Row = readonly [text: string, status: number, remedy: Remedy, code: ErrorCode, mayHaveApplied: boolean];

const { invalidArgument, notFound, resourceExhausted, failedPrecondition, outOfRange } = grpc;
const { unavailable, dataLoss, unauthenticated, permissionDenied, unknown } = grpc;

/** What etcd 3.4 to 3.6 say, by etcd's `rpctypes` and by what its layers below let through unchanged. */
const rows: readonly Row[] = [
  // The cluster is in trouble, or this member of it.
  ["etcdserver: no leader", unavailable, "next-endpoint", "ETCD_UNAVAILABLE", false],
  ["etcdserver: not leader", failedPrecondition, "next-endpoint", "ETCD_UNAVAILABLE", false],
  ["etcdserver: leader changed", unavailable, "next-endpoint", "ETCD_UNAVAILABLE", true],
  ["etcdserver: server stopped", unavailable, "next-endpoint", "ETCD_UNAVAILABLE", true],
  ["etcdserver: request timed out", unavailable, "next-endpoint", "ETCD_UNAVAILABLE", true],
  [
    "etcdserver: request timed out, possibly due to previous leader failure",
    unavailable,
    "next-endpoint",
    "ETCD_UNAVAILABLE",
    true,
  ],
  [
    "etcdserver: request timed out, possibly due to connection lost",
    unavailable,
    "next-endpoint",
    "ETCD_UNAVAILABLE",
    true,
  ],
  [
    "etcdserver: request timed out, waiting for the applied index took too long",
    unavailable,
    "next-endpoint",
    "ETCD_UNAVAILABLE",
    true,
  ],
  ["etcdserver: unhealthy cluster", unavailable, "next-endpoint", "ETCD_UNAVAILABLE", true],
  ["etcdserver: corrupt cluster", dataLoss, "next-endpoint", "ETCD_UNAVAILABLE", false],
  ["etcdserver: rpc not supported for learner", unavailable, "next-endpoint", "ETCD_UNAVAILABLE", false],
  [
    "etcdserver: rpc not supported for learner",
    failedPrecondition,
    "next-endpoint",
    "ETCD_UNAVAILABLE",
    false,
  ],
  ["etcdserver: not capable", unavailable, "next-endpoint", "ETCD_UNAVAILABLE", false],
  [
    "etcdserver: cluster version not found during downgrade",
    unavailable,
    "next-endpoint",
    "ETCD_UNAVAILABLE",
    false,
  ],
  ["raft proposal dropped", unknown, "next-endpoint", "ETCD_UNAVAILABLE", false],
  ["context deadline exceeded", unknown, "next-endpoint", "ETCD_UNAVAILABLE", true],
  ["context canceled", grpc.cancelled, "next-endpoint", "ETCD_UNAVAILABLE", true],
  ["etcdserver: too many requests", resourceExhausted, "retry", "ETCD_UNAVAILABLE", false],
  ["etcdserver: mvcc: database space exceeded", resourceExhausted, "retry", "ETCD_UNAVAILABLE", false],

  // Who we are.
  ["etcdserver: invalid auth token", unauthenticated, "authenticate", "AUTH_FAILED", false],
  ["auth: invalid auth token", unknown, "authenticate", "AUTH_FAILED", false],
  ["etcdserver: revision of auth store is old", invalidArgument, "authenticate", "AUTH_FAILED", false],
  ["auth: revision in header is old", unknown, "authenticate", "AUTH_FAILED", false],
  ["etcdserver: user name is empty", invalidArgument, "authenticate", "AUTH_FAILED", false],
  ["etcdserver: user name not found", failedPrecondition, "fatal", "AUTH_FAILED", false],
  [
    "etcdserver: authentication failed, invalid user ID or password",
    invalidArgument,
    "fatal",
    "AUTH_FAILED",
    false,
  ],
  [
    "auth: authentication failed, password was given for no password user",
    unknown,
    "fatal",
    "AUTH_FAILED",
    false,
  ],
  ["etcdserver: authentication is not enabled", failedPrecondition, "fatal", "AUTH_FAILED", false],
  ["etcdserver: permission denied", permissionDenied, "fatal", "PERMISSION_DENIED", false],

  // What we asked for.
  ["etcdserver: requested lease not found", notFound, "lease-gone", "SESSION_LOST", false],
  ["etcdserver: lease already exists", failedPrecondition, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: too large lease TTL", outOfRange, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: mvcc: required revision has been compacted", outOfRange, "fatal", "COMPACTED", false],
  ["etcdserver: mvcc: required revision is a future revision", outOfRange, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: key is not provided", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: key not found", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: value is provided", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: lease is provided", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: ttl is 0", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: too many operations in txn request", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: duplicate key given in txn request", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: invalid sort option", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: invalid client api version", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: request is too large", invalidArgument, "fatal", "ETCD_REFUSED", false],
  ["grpc: received message larger than max (3 vs. 2)", resourceExhausted, "fatal", "ETCD_REFUSED", false],
  ["Received message larger than max (3 vs 2)", resourceExhausted, "fatal", "ETCD_REFUSED", false],
  [
    "grpc: trying to send message larger than max (3 vs. 2)",
    resourceExhausted,
    "fatal",
    "ETCD_REFUSED",
    true,
  ],
  ["mvcc: watcher range is empty", unknown, "fatal", "ETCD_REFUSED", false],
  ["etcdserver: member not found", notFound, "fatal", "ETCD_REFUSED", false],
  [
    "etcdserver: re-configuration failed due to not enough started members",
    failedPrecondition,
    "fatal",
    "ETCD_REFUSED",
    false,
  ],
  ["etcdserver: root user does not exist", failedPrecondition, "fatal", "ETCD_REFUSED", false],

  // The way to etcd.
  ["connect ECONNREFUSED 127.0.0.1:2379", unavailable, "next-endpoint", "ETCD_UNAVAILABLE", false],
  ["read ECONNRESET", unavailable, "next-endpoint", "ETCD_UNAVAILABLE", true],
  ["no answer within 500 ms", grpc.deadlineExceeded, "next-endpoint", "ETCD_UNAVAILABLE", true],
  ["Received RST_STREAM with code 2", grpc.internal, "next-endpoint", "ETCD_UNAVAILABLE", true],
  ["unknown service etcdserverpb.KV", grpc.unimplemented, "next-endpoint", "ETCD_UNAVAILABLE", false],
  ["something that a later etcd invents", unknown, "next-endpoint", "ETCD_UNAVAILABLE", true],
];

test.each(rows)(
  "%s (%i): %s, %s, may have applied: %s",
  (message, code, remedy, errorCode, mayHaveApplied) => {
    expect(classify({ code, message })).toEqual({ remedy, code: errorCode, mayHaveApplied });
  },
);

/** Some texts come with the status of no particular kind: through a proxy, or from an older etcd. */
const byText = rows.filter(([, , remedy]) => remedy !== "fatal" && remedy !== "retry");
test.each(byText)("%s means the same with the status Unknown", (message, _status, remedy, code) => {
  const { mayHaveApplied } = classify({ code: unknown, message });
  const expected = { remedy, code };
  expect(classify({ code: unknown, message })).toMatchObject(
    message.startsWith("unknown service") ? { remedy: "next-endpoint" } : expected,
  );
  expect(typeof mayHaveApplied).toBe("boolean");
});

test("an error names the request, the endpoint and etcd's words, and keeps the status", () => {
  const error = etcdError(
    { code: outOfRange, message: "etcdserver: too large lease TTL" },
    "LeaseGrant",
    "a:1",
  );
  expect(error).toMatchObject({
    name: "EtcdError",
    code: "ETCD_REFUSED",
    message: "LeaseGrant at a:1: etcdserver: too large lease TTL",
    grpcStatus: outOfRange,
    mayHaveApplied: false,
  });
});

test("only etcd's own word makes a lease gone", () => {
  const of = (message: string): Error => etcdError({ code: notFound, message }, "x", "a:1");
  expect(isLeaseGone(of("etcdserver: requested lease not found"))).toBe(true);
  expect(isLeaseGone(of("etcdserver: member not found"))).toBe(false);
  expect(isLeaseGone(new Error("requested lease not found"))).toBe(false);
});
