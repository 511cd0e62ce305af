import type { CancelTimer, Clock } from "../clock.ts";
import type { KeyText } from "./key-range.ts";
import type { Change } from "./mvcc.ts";
import { refusals } from "./status-error.ts";

/** `ceil(1.5 × the default election timeout of 1 s)`: etcd raises smaller TTLs to it, without a word. */
const minTtlSeconds = 2n;
const maxTtlSeconds = 9_000_000_000n;
/** How often etcd looks for expired leases. */
const scanIntervalMs = 500;

export interface Lease {
  readonly id: bigint;
  readonly ttlSeconds: bigint;
  /** The instant from which on the lease is over; until the next scan its keys still stand. */
  readonly expiresAt: number;
  /** The keys bound to it. */
  readonly keys: ReadonlySet<KeyText>;
}

interface OwnLease extends Lease {
  expiresAt: number;
  readonly keys: Set<KeyText>;
}

/** The leases at one moment; they come back with their full TTL. */
export type LessorSnapshot = readonly Omit<Lease, "expiresAt">[];

/** Keeps leases and says which are over. Deleting their keys is the store's part. */
export class Lessor {
  readonly #clock: Clock;
  readonly #onExpired: (lease: Lease) => void;
  readonly #firstScan: number;
  readonly #leases = new Map<bigint, OwnLease>();
  /** Which lease a key is bound to. */
  readonly #leaseOf = new Map<KeyText, bigint>();
  #nextId: bigint;
  #scan: { readonly instant: number; readonly cancel: CancelTimer } | undefined;
  #paused = false;

  constructor(clock: Clock, onExpired: (lease: Lease) => void) {
    this.#clock = clock;
    this.#onExpired = onExpired;
    this.#firstScan = clock.now();
    // Like etcd's, the ids exceed 2^53, and another server gives others.
    this.#nextId = 0x4000_0000_0000_0000n | (BigInt(Math.floor(clock.random() * 0x3fff_ffff)) << 32n);
  }

  grant(wantedId: bigint, wantedTtlSeconds: bigint): Lease {
    if (wantedTtlSeconds > maxTtlSeconds) throw refusals.leaseTtlTooLarge();
    if (this.#leases.has(wantedId)) throw refusals.leaseExists();
    const lease: OwnLease = {
      id: wantedId === 0n ? this.#freeId() : wantedId,
      ttlSeconds: wantedTtlSeconds < minTtlSeconds ? minTtlSeconds : wantedTtlSeconds,
      expiresAt: 0,
      keys: new Set(),
    };
    this.#leases.set(lease.id, lease);
    this.#refill(lease);
    this.#schedule(lease.expiresAt);
    return lease;
  }

  get(id: bigint): Lease | undefined {
    return this.#leases.get(id);
  }

  /** Every lease, the one that ends first in front. */
  list(): Lease[] {
    return [...this.#leases.values()].sort((a, b) => a.expiresAt - b.expiresAt || (a.id < b.id ? -1 : 1));
  }

  /**
   * Gives a lease its full TTL again; undefined if it is gone. One that is over but not yet
   * revoked is not revived: etcd lets such a renewal wait for the revocation, here it comes at once.
   */
  renew(id: bigint): Lease | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    if (this.#isOver(lease)) {
      this.#onExpired(lease);
      return undefined;
    }
    this.#refill(lease);
    return lease;
  }

  /** What a new raft leader does to every lease, and a cluster after an outage. */
  refillAll(): void {
    for (const lease of this.#leases.values()) this.#refill(lease);
  }

  /** Drops a lease. Its keys must be deleted by the caller. */
  remove(id: bigint): void {
    for (const key of this.#leases.get(id)?.keys ?? []) this.#leaseOf.delete(key);
    this.#leases.delete(id);
  }

  /** Follows a change of a key, and with it of the lease that the key is bound to. */
  rebind({ text, now }: Change): void {
    const before = this.#leaseOf.get(text);
    if (before === now.lease) return;
    if (before !== undefined) this.#leases.get(before)?.keys.delete(text);
    if (now.lease === 0n) {
      this.#leaseOf.delete(text);
    } else {
      this.#leaseOf.set(text, now.lease);
      this.#leases.get(now.lease)?.keys.add(text);
    }
  }

  /** How long the lease has still to live, in whole seconds, rounded down as etcd does. */
  remainingSeconds({ expiresAt }: Lease): bigint {
    return BigInt(Math.max(0, Math.trunc((expiresAt - this.#clock.now()) / 1_000)));
  }

  /** Reports every lease that is over now, in the order of their ends. The scan does this every 500 ms. */
  expireDue(): void {
    for (const lease of this.list()) {
      if (this.#isOver(lease)) this.#onExpired(lease);
    }
  }

  /** Leases neither expire nor count down to it until `resume`. */
  pause(): void {
    this.#paused = true;
    this.#stopScan();
  }

  resume(): void {
    this.#paused = false;
    this.refillAll();
    this.#schedule();
  }

  snapshot(): LessorSnapshot {
    return [...this.#leases.values()].map(({ id, ttlSeconds, keys }) => ({
      id,
      ttlSeconds,
      keys: new Set(keys),
    }));
  }

  restore(snapshot: LessorSnapshot): void {
    this.#leases.clear();
    this.#leaseOf.clear();
    for (const { id, ttlSeconds, keys } of snapshot) {
      this.#leases.set(id, { id, ttlSeconds, keys: new Set(keys), expiresAt: 0 });
      for (const key of keys) this.#leaseOf.set(key, id);
    }
    this.refillAll();
    this.#stopScan();
    this.#schedule();
  }

  /** Ends the scans for good. */
  close(): void {
    this.pause();
  }

  #refill(lease: OwnLease): void {
    lease.expiresAt = this.#clock.now() + Number(lease.ttlSeconds) * 1_000;
  }

  #isOver(lease: Lease): boolean {
    return !this.#paused && lease.expiresAt <= this.#clock.now();
  }

  #freeId(): bigint {
    do this.#nextId += 1n;
    while (this.#leases.has(this.#nextId));
    return this.#nextId;
  }

  /** Waits for the first scan at which a lease can be over; the scans before it would find nothing. */
  #schedule(earliest: number = this.#earliestEnd()): void {
    if (this.#paused || this.#leases.size === 0) return;
    const instant = this.#scanAfter(earliest);
    if (this.#scan !== undefined && this.#scan.instant <= instant) return;
    this.#stopScan();
    const cancel = this.#clock.at(instant, () => {
      this.#scan = undefined;
      this.expireDue();
      this.#schedule();
    });
    this.#scan = { instant, cancel };
  }

  #earliestEnd(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (const { expiresAt } of this.#leases.values()) earliest = Math.min(earliest, expiresAt);
    return earliest;
  }

  /** The first scan that is at or after `instant`, and still to come. */
  #scanAfter(instant: number): number {
    const needed = Math.ceil((instant - this.#firstScan) / scanIntervalMs);
    const next = Math.floor((this.#clock.now() - this.#firstScan) / scanIntervalMs) + 1;
    return this.#firstScan + Math.max(needed, next) * scanIntervalMs;
  }

  #stopScan(): void {
    this.#scan?.cancel();
    this.#scan = undefined;
  }
}
