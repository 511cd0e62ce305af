import { randomUUID } from "node:crypto";
import { badOption } from "../errors.ts";
import { toText } from "../etcd/bytes.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { type KeyValue, KV } from "../etcd/gen/etcd_pb.ts";
import { type Compare, created, deleteOp, getOp, kvsOf, putOp } from "../etcd/ops.ts";
import { objectIn } from "../json.ts";
import { pauseKey } from "./names.ts";
import { checkSteering, checkText, type SteeringOptions } from "./options.ts";
import { RefusedError, refused } from "./refusal.ts";

/** That nobody may choose to change the leader, and why. */
export interface Pause {
  readonly reason: string;
  /** When it began, as an ISO date by the clock of whoever asked for it; "" where that is not told. */
  readonly since: string;
  /** Who asked for it. */
  readonly by?: string;
  /** Milliseconds until it ends by itself, rounded to seconds; without, it lasts until `resume`. */
  readonly remainingMs?: number;
}

export interface PauseOptions extends SteeringOptions {
  /** Why, for everybody who looks. 1 to 1024 characters. */
  readonly reason: string;
  /**
   * Milliseconds after which the pause ends by itself, rounded up to seconds: the life of a lease in etcd, so no clock
   * is compared, and an outage of etcd prolongs it. @defaultValue until `resume`
   */
  readonly forMs?: number;
  /** Who asks, for everybody who looks. */
  readonly by?: string;
  /** Takes the place of a pause that there is already. @defaultValue false */
  readonly replace?: boolean;
}

/** A pause as it stands in etcd. */
export interface StandingPause extends Pause {
  /** @internal */
  readonly revision: bigint;
  /** @internal */
  readonly leaseId: bigint;
}

/** The longest TTL that etcd grants. */
const mostSeconds = 9_000_000_000;

/**
 * Holds the leader still: until the pause ends no handover, switch-back, demotion for health or reordering by priority
 * begins. Who loses the lease is replaced all the same, and a member may leave. A handover that its leader had accepted
 * before is carried out.
 *
 * Resolves to the pause as it was stored. Rejects with `REFUSED` if there is one already, with `BAD_OPTION`, or as
 * requests to etcd do.
 */
export async function pause(etcd: Etcd, election: string, options: PauseOptions): Promise<Pause> {
  const { reason, forMs, by, replace = false, metaPrefix } = options;
  checkSteering(election, options);
  checkText("reason", reason);
  if (by !== undefined) checkText("by", by);
  if (forMs !== undefined && !(forMs > 0 && forMs <= mostSeconds * 1_000)) {
    throw badOption("forMs", `a number of milliseconds above 0, at most ${mostSeconds * 1_000}`, forMs);
  }
  const limits = limitsOf(options);
  const key = pauseKey(election, metaPrefix);
  const lease = forMs === undefined ? undefined : await etcd.leaseGrant(Math.ceil(forMs / 1_000), limits);
  const told = { reason, since: etcd.clock.date().toISOString(), ...(by === undefined ? {} : { by }) };
  // By its mark a repetition knows what an earlier try has put.
  const value = JSON.stringify({ ...told, mark: randomUUID() });
  const giveBack = async (): Promise<void> => {
    if (lease !== undefined) await etcd.leaseRevoke(lease.ID, limits).catch(() => {});
  };
  let replaced = 0n;
  try {
    for (let expected = 0n; ; ) {
      const success = [putOp(key, value, lease?.ID)];
      const compare: Compare[] = [created(key, expected)];
      const request = { compare, success, failure: [getOp(key)] };
      const { response } = await etcd.call(KV.method.txn, request, { ...limits, idempotent: true });
      const kv = kvsOf(response.responses[0])[0];
      if (response.succeeded || (kv !== undefined && toText(kv.value) === value)) break;
      if (kv !== undefined && !replace) {
        throw new RefusedError(refused("paused-already", `paused already: ${pauseText(pauseIn(kv))}`));
      }
      expected = kv?.createRevision ?? 0n;
      replaced = kv?.lease ?? 0n;
    }
  } catch (error) {
    await giveBack();
    throw error;
  }
  await revokeIfBare(etcd, replaced, limits);
  return lease === undefined ? told : { ...told, remainingMs: Number(lease.TTL) * 1_000 };
}

/**
 * Ends a pause, whoever asked for it. Resolves to the pause that was ended, or to `undefined` if there was none.
 * Rejects with `BAD_OPTION`, or as requests to etcd do.
 */
export async function resume(
  etcd: Etcd,
  election: string,
  options: SteeringOptions = {},
): Promise<Pause | undefined> {
  checkSteering(election, options);
  const limits = limitsOf(options);
  const key = pauseKey(election, options.metaPrefix);
  let ended: Pause | undefined;
  while (true) {
    const kv = (await etcd.range(key, limits)).kvs[0];
    if (kv === undefined) return ended;
    const { revision: _revision, leaseId, ...pause } = pauseIn(kv);
    ended = pause;
    const request = { compare: [created(key, kv.createRevision)], success: [deleteOp(key)] };
    const { response } = await etcd.call(KV.method.txn, request, { ...limits, idempotent: true });
    // Where it is another's by now, or an earlier try has done it, the next look tells.
    if (!response.succeeded) continue;
    await revokeIfBare(etcd, leaseId, limits);
    return ended;
  }
}

/** The pause of an election, or `undefined` if there is none. Rejects as requests to etcd do. */
export async function readPause(
  etcd: Etcd,
  election: string,
  options: SteeringOptions = {},
): Promise<Pause | undefined> {
  checkSteering(election, options);
  const limits = limitsOf(options);
  const kv = (await etcd.range(pauseKey(election, options.metaPrefix), limits)).kvs[0];
  if (kv === undefined) return undefined;
  const { revision: _revision, leaseId, ...pause } = pauseIn(kv);
  if (leaseId === 0n) return pause;
  const { TTL } = await etcd.leaseTimeToLive(leaseId, limits);
  return TTL < 0n ? undefined : { ...pause, remainingMs: Number(TTL) * 1_000 };
}

/** A pause by its key: whatever it says, its being there is what counts. */
export function pauseIn(kv: KeyValue): StandingPause {
  const { reason, since, by } = objectIn(toText(kv.value));
  return {
    reason: typeof reason === "string" ? reason : "",
    since: typeof since === "string" ? since : "",
    ...(typeof by === "string" ? { by } : {}),
    revision: kv.createRevision,
    leaseId: kv.lease,
  };
}

/** A pause in a sentence. */
export function pauseText({ reason, since, by }: Pause): string {
  const who = by === undefined ? "" : `, by ${by}`;
  return `${JSON.stringify(reason)}${since === "" ? "" : `, since ${since}`}${who}`;
}

/** Takes back a lease that has served for a pause alone. What else hangs on it is not ours to end. */
async function revokeIfBare(etcd: Etcd, leaseId: bigint, limits: CallOptions): Promise<void> {
  if (leaseId === 0n) return;
  try {
    const { keys } = await etcd.leaseTimeToLive(leaseId, { ...limits, keys: true });
    if (keys.length === 0) await etcd.leaseRevoke(leaseId, limits);
  } catch (error) {
    etcd.logger.debug({ error }, "the lease of a pause ends by itself");
  }
}

function limitsOf({ signal, timeoutMs = 10_000 }: SteeringOptions): CallOptions {
  return { timeoutMs, ...(signal === undefined ? {} : { signal }) };
}
