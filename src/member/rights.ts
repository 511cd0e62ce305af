import { EtcdError, isPermissionDenied } from "../etcd/failure.ts";

/** An error as it is, but etcd's refusal with the right that is missing: etcd itself does not say which. */
export function namingTheRight(error: unknown, election: string): unknown {
  if (!isPermissionDenied(error)) return error;
  const message = `the etcd user needs readwrite on the range [${election}/, ${election}0): ${error.message}`;
  return new EtcdError(error.code, message, error.grpcStatus, error.mayHaveApplied, { cause: error });
}
