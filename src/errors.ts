/**
 * Every code this package throws. The code is the contract; the message is for people.
 *
 * - `BAD_OPTION`: an argument is unusable; the message names the field, the value and what to do.
 * - `ETCD_UNAVAILABLE`: no endpoint answered within the time allowed. Trying again later may help.
 * - `ETCD_REFUSED`: etcd answered, and its answer is final for this request.
 * - `AUTH_FAILED`: the user name, password or certificate is refused.
 * - `PERMISSION_DENIED`: the user is known and lacks the right.
 * - `COMPACTED`: the revision asked for is no longer stored.
 * - `SESSION_LOST`: the lease is over, or its deadline has passed.
 * - `CANDIDACY_LOST`: the candidate's key is gone or was given up before it led; `endCause` says why.
 * - `TERM_ENDED`: the spell of leadership is over; `endCause` says why.
 * - `NOT_LEADER`: the operation is the leader's alone, and this candidate is not the leader.
 * - `LOCKED`: somebody else holds the mutex.
 * - `REFUSED`: a change of leader, or a pause, was asked for and is not possible now; the message says why.
 * - `TIMEOUT`: the time given by the caller has passed.
 * - `CLOSED`: the object was closed before or during the call.
 */
export const errorCodes = [
  "BAD_OPTION",
  "ETCD_UNAVAILABLE",
  "ETCD_REFUSED",
  "AUTH_FAILED",
  "PERMISSION_DENIED",
  "COMPACTED",
  "SESSION_LOST",
  "CANDIDACY_LOST",
  "TERM_ENDED",
  "NOT_LEADER",
  "LOCKED",
  "REFUSED",
  "TIMEOUT",
  "CLOSED",
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** Base of every error thrown on purpose by this package. */
export class SuccessionError extends Error {
  override readonly name: string = "SuccessionError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Why a session, candidacy or term ended.
 *
 * - `resigned`: its owner gave it up.
 * - `finished`: `lead` returned. `failed`: `lead` or `prepare` threw.
 * - `handover`: given up for another candidate. `unhealthy`: given up because the service is not well.
 * - `deadline`: not proven ours any more: no answer from etcd in time.
 * - `lease-gone`: etcd says that the lease no longer exists. `key-gone`: the key was deleted.
 * - `hung`: the process gave no sign of life.
 * - `store-restored`: etcd shows an older state, or is another cluster.
 * - `closed`: the session or the client under it was closed.
 */
export const causes = [
  "resigned",
  "finished",
  "failed",
  "handover",
  "unhealthy",
  "deadline",
  "lease-gone",
  "key-gone",
  "hung",
  "store-restored",
  "closed",
] as const;

export type Cause = (typeof causes)[number];

/** What a session's, candidacy's or term's signal aborts with. */
export class EndedError extends SuccessionError {
  override readonly name: string = "EndedError";
  readonly endCause: Cause;

  constructor(code: "SESSION_LOST" | "CANDIDACY_LOST" | "TERM_ENDED", endCause: Cause, message: string) {
    super(code, message);
    this.endCause = endCause;
  }
}

/** The error for an argument that cannot be used: names the field, the rule and the value. */
export function badOption(field: string, rule: string, value: unknown): SuccessionError {
  return new SuccessionError("BAD_OPTION", `${field} must be ${rule}, got ${shown(value)}`);
}

/** The error of an object that is used after its `close()`. */
export function closedError(what: string): SuccessionError {
  return new SuccessionError("CLOSED", `${what} is closed`);
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  return String(value);
}
