import { type Candidate, candidate } from "../concurrency/line.ts";
import { metaFolder } from "../concurrency/naming.ts";
import { toText } from "../etcd/bytes.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { byCreation, getOp, kvsOf, rangeOp } from "../etcd/ops.ts";
import { objectIn } from "../json.ts";
import { handoverKey, pauseKey } from "./names.ts";
import { pauseIn, type StandingPause } from "./pause.ts";
import { type HandoverRequest, requestIn } from "./request.ts";

/** All that a change of leader depends on, at one revision. */
export interface Survey {
  /** The leader first. */
  readonly line: readonly Candidate[];
  /** What members tell about themselves, by their lease. */
  readonly details: ReadonlyMap<bigint, Readonly<Record<string, unknown>>>;
  readonly pause: StandingPause | undefined;
  readonly request: HandoverRequest | undefined;
  readonly revision: bigint;
}

/** Reads it, by one linearizable transaction. */
export async function survey(
  etcd: Etcd,
  election: string,
  metaPrefix: string | undefined,
  options: CallOptions,
): Promise<Survey> {
  const members = `${metaFolder(election, metaPrefix)}members/`;
  const success = [
    rangeOp(byCreation(`${election}/`)),
    rangeOp(byCreation(members)),
    getOp(pauseKey(election, metaPrefix)),
    getOp(handoverKey(election, metaPrefix)),
  ];
  const { response } = await etcd.call(KV.method.txn, { success }, { ...options, idempotent: true });
  const [line = [], details = [], [paused] = [], [requested] = []] = response.responses.map(kvsOf);
  return {
    line: line.map(candidate),
    details: new Map(details.map((kv) => [kv.lease, objectIn(toText(kv.value))])),
    pause: paused === undefined ? undefined : pauseIn(paused),
    request: requested === undefined ? undefined : requestIn(requested),
    revision: response.header?.revision ?? 0n,
  };
}

/** The priority of members that say nothing of it, and of candidates that say nothing at all. */
export const defaultPriority = 100;

/** How much a candidate is to be preferred, by its details. */
export function priorityIn({ priority }: Readonly<Record<string, unknown>>): number {
  return typeof priority === "number" ? priority : defaultPriority;
}

/** Whether a candidate comes back by itself when its key goes: it is a member, not a Go program or etcdctl. */
export function comesBack({ details }: Pick<Survey, "details">, { leaseId }: Candidate): boolean {
  const { id } = details.get(leaseId) ?? {};
  return leaseId !== 0n && typeof id === "string";
}
