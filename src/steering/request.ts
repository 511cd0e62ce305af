import { toText } from "../etcd/bytes.ts";
import type { KeyValue } from "../etcd/gen/etcd_pb.ts";
import { objectIn } from "../json.ts";
import { type Refusal, refusalIn } from "./refusal.ts";

/** What the leader has said to a request. */
export type Answer =
  /** The way is clear, and the leader steps down: nothing takes that back. */
  { readonly at: "accepted"; readonly passed: readonly string[] } | Refusal;

/** A request for a handover as it is stored. */
export interface HandoverRequest {
  /** The term that is meant: a later leader never takes the request for its own. */
  readonly token: bigint;
  /** The id or the key of who is to lead; else the next in line. */
  readonly to?: string;
  readonly by?: string;
  readonly answer?: Answer;
  /** The revision at which it was made. */
  readonly revision: bigint;
  readonly leaseId: bigint;
  readonly json: Readonly<Record<string, unknown>>;
}

/** The value of a new request. */
export function requestValue(of: {
  readonly token: bigint;
  readonly to: string | undefined;
  readonly by: string | undefined;
  readonly requestedAt: string;
}): string {
  const { token, to, by, ...rest } = of;
  const named = { ...(to === undefined ? {} : { to }), ...(by === undefined ? {} : { by }) };
  return JSON.stringify({ token: Number(token), ...named, ...rest });
}

/** The value of a request with its answer. */
export function answeredValue(request: HandoverRequest, answer: Answer): string {
  return JSON.stringify({ ...request.json, answer });
}

/** A request by its key; one that names no term means none. */
export function requestIn(kv: KeyValue): HandoverRequest {
  const json = objectIn(toText(kv.value));
  const { token, to, by, answer: said } = json;
  const answer = answerIn(said);
  return {
    token: Number.isSafeInteger(token) ? BigInt(token as number) : 0n,
    ...(typeof to === "string" ? { to } : {}),
    ...(typeof by === "string" ? { by } : {}),
    ...(answer === undefined ? {} : { answer }),
    revision: kv.createRevision,
    leaseId: kv.lease,
    json,
  };
}

function answerIn(value: unknown): Answer | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { at, passed, ...rest } = value as { at?: unknown; passed?: unknown };
  if (at === "refused") return refusalIn(rest);
  if (at !== "accepted") return undefined;
  const ids = Array.isArray(passed) ? passed.filter((id) => typeof id === "string") : [];
  return { at, passed: ids };
}
