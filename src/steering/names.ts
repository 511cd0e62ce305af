import { leaseName, metaFolder } from "../concurrency/naming.ts";

/** While this key exists no change of leader is chosen. */
export function pauseKey(election: string, metaPrefix?: string): string {
  return `${metaFolder(election, metaPrefix)}pause`;
}

/** The request for a handover, one at a time, and then its answer. */
export function handoverKey(election: string, metaPrefix?: string): string {
  return `${metaFolder(election, metaPrefix)}requests/handover`;
}

/** Tells a candidate, on its own lease, that its key was deleted so that another one comes before it. */
export function passedKey(election: string, leaseId: bigint, metaPrefix?: string): string {
  return `${metaFolder(election, metaPrefix)}requests/passed/${leaseName(leaseId)}`;
}
