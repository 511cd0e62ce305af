import { deleteKey } from "../concurrency/own-key.ts";
import { releaseMark } from "../concurrency/takeover.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { isLeaseGone } from "../etcd/failure.ts";
import type { Charge } from "./charge.ts";

/**
 * Deletes the key of a service that is dead, guarded by its create revision, and revokes its lease, which takes along
 * what the service put without being able to say so. Tries until etcd answers, or the lease must long be over: then
 * it resolves to false. Never rejects.
 */
export async function giveBack(etcd: Etcd, charge: Charge): Promise<boolean> {
  const { clock } = etcd;
  // An outage of etcd refills every TTL, so even an expired lease may stand again.
  const end = clock.now() + Math.max(10_000, 3 * charge.ttlMs);
  const limits = (): CallOptions => ({ timeoutMs: Math.max(1, end - clock.now()) });
  // The key first: others lead from its deletion on. What etcd refuses to delete may still be revoked.
  await deleteOwn(etcd, charge, limits()).catch(() => {});
  try {
    await etcd.leaseRevoke(BigInt(charge.leaseId), limits());
    return true;
  } catch (error) {
    return isLeaseGone(error);
  }
}

async function deleteOwn(etcd: Etcd, charge: Charge, limits: CallOptions): Promise<void> {
  if (charge.token === undefined) return;
  const token = BigInt(charge.token);
  // The work has stopped, as surely as work can.
  const mark = charge.marksPrefix === undefined ? undefined : releaseMark(charge.marksPrefix, token);
  await deleteKey(etcd, charge.key, token, limits, { mark });
}
