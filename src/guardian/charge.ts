import type { Connection } from "../etcd/etcd.ts";

/**
 * A lease of the service that its guardian gives back when the service is dead, and the candidate's key on it. Plain
 * data, for it goes through a pipe: 64-bit numbers are decimal digits.
 */
export interface Charge {
  readonly leaseId: string;
  readonly ttlMs: number;
  /** How long the service's event loop may be silent while it holds this lease. */
  readonly hangAfterMs: number;
  readonly connection: Connection;
  /** The key's name, which follows from the lease. */
  readonly key: string;
  /** The key's create revision, once it stands. */
  readonly token?: string;
  /** Where to leave a release mark; nowhere if left out. */
  readonly marksPrefix?: string;
}
