import { badOption } from "../errors.ts";
import { EtcdError, isPermissionDenied } from "../etcd/failure.ts";
import { mostRecords } from "../member/term-record.ts";
import { checkSteering, type SteeringOptions } from "../steering/options.ts";

/** How to look at an election. `timeoutMs` is for all of a read. */
export interface OverviewOptions extends SteeringOptions {
  /** How many terms to tell of at most. @defaultValue 200, which is as many as are kept */
  readonly mostTerms?: number;
}

export const defaultMostTerms: number = mostRecords;

/** Throws `BAD_OPTION` unless these can be used. */
export function checkOverview(election: string, options: OverviewOptions): void {
  checkSteering(election, options);
  const { mostTerms } = options;
  if (mostTerms !== undefined && !(Number.isSafeInteger(mostTerms) && mostTerms >= 1)) {
    throw badOption("mostTerms", "an integer of 1 or more", mostTerms);
  }
}

/** An error as it is, but etcd's refusal with the right that is missing: etcd itself does not say which. */
export function namingTheRange(error: unknown, prefix: string): unknown {
  if (!isPermissionDenied(error)) return error;
  // A prefix that ends in "/" ends before the same with "0".
  const message = `the etcd user needs read on the range [${prefix}, ${prefix.slice(0, -1)}0): ${error.message}`;
  return new EtcdError(error.code, message, error.grpcStatus, error.mayHaveApplied, { cause: error });
}
