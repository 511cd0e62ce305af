import {
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { type Clock, systemClock } from "../clock.ts";
import * as pb from "../etcd/gen/etcd_pb.ts";
import { Alarms } from "./alarms.ts";
import { keyRange } from "./key-range.ts";
import { type Lease, Lessor, type LessorSnapshot } from "./lessor.ts";
import { Mvcc, type MvccSnapshot, type MvccWrite } from "./mvcc.ts";
import { answerRange } from "./range-query.ts";
import { checkKey, checkPut, checkRange, checkTxn } from "./request-checks.ts";
import { refusals } from "./status-error.ts";
import { applyDelete, applyPlan, applyPut, checkPlan, checkPutTarget, planTxn } from "./transaction.ts";
import { WatchHub } from "./watch-hub.ts";
import type { WatchSink, WatchStream } from "./watch-stream.ts";

export interface StoreOptions {
  /** @defaultValue the process's clock */
  readonly clock?: Clock;
  /** The revision of the empty store; those below count as compacted. @defaultValue 1, as in etcd */
  readonly firstRevision?: bigint;
  /** Called with each new revision before it is used. */
  readonly onRevision?: (revision: bigint) => void;
  /** @defaultValue random, never 0 */
  readonly clusterId?: bigint;
  /** @defaultValue random, never 0 */
  readonly memberId?: bigint;
  /** How often quiet watches that asked for it hear of progress. @defaultValue 600 000, as in etcd */
  readonly progressIntervalMs?: number;
}

/** The whole state at one moment, for `restore`. */
export interface StoreSnapshot {
  readonly kv: MvccSnapshot;
  readonly leases: LessorSnapshot;
}

/** A request: a message, or the fields that are not at their defaults. */
type Request<Desc extends DescMessage> = MessageInitShape<Desc>;

interface Headed {
  header?: pb.ResponseHeader | undefined;
}

const noEnd = new Uint8Array(0);
/** etcd's default of `--max-request-bytes`. */
const maxRequestBytes = 1.5 * 1024 * 1024;
/** What etcd allows on top of that for gRPC's own needs, and in answers to watches. */
export const maxMessageBytes: number = maxRequestBytes + 512 * 1024;
/** What etcd's own envelope adds to a request in its log; 18 where the member's id is a big number. */
const envelopeBytes = 17;

/** The version that the store says it has: etcd's whose behaviour it follows, marked as not etcd. */
const storeVersion = "3.5.16-succession-dev";

/**
 * etcd's v3 API as plain method calls: each takes effect at once and returns the answer, or
 * throws a `StatusError` as etcd would answer it. Time comes from the clock alone, so that a
 * simulator can run it. All data is in memory.
 */
export class Store {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly #kv: Mvcc;
  readonly #lessor: Lessor;
  readonly #hub: WatchHub;
  readonly #alarms = new Alarms();
  readonly #onRevision: (revision: bigint) => void;
  #raftTerm = 2n;
  #raftIndex = 4n;
  #state: "up" | "paused" | "closed" = "up";

  constructor(options: StoreOptions = {}) {
    const { clock = systemClock, firstRevision = 1n, onRevision = () => {} } = options;
    const { progressIntervalMs = 600_000 } = options;
    const { clusterId = randomId(clock), memberId = randomId(clock) } = options;
    this.clusterId = clusterId;
    this.memberId = memberId;
    this.#onRevision = onRevision;
    this.#kv = new Mvcc(firstRevision);
    this.#lessor = new Lessor(clock, (lease) => this.#dropLease(lease));
    this.#hub = new WatchHub({
      store: this.#kv,
      clock,
      header: (revision) => this.header(revision),
      maxResponseBytes: maxMessageBytes,
      progressIntervalMs,
    });
  }

  /** The current revision. */
  get revision(): bigint {
    return this.#kv.revision;
  }

  /** The header of an answer. */
  header(revision: bigint = this.#kv.revision): pb.ResponseHeader {
    const { clusterId, memberId } = this;
    return create(pb.ResponseHeaderSchema, { clusterId, memberId, revision, raftTerm: this.#raftTerm });
  }

  // KV

  range(init: Request<typeof pb.RangeRequestSchema>): pb.RangeResponse {
    const request = create(pb.RangeRequestSchema, init);
    this.#checkUp();
    checkRange(request);
    this.#checkIntact();
    return this.#headed(answerRange(this.#kv, request));
  }

  put(init: Request<typeof pb.PutRequestSchema>): pb.PutResponse {
    const request = create(pb.PutRequestSchema, init);
    this.#checkUp();
    checkPut(request);
    this.#checkSize(pb.PutRequestSchema, request, request.key.length + request.value.length);
    this.#checkIntact();
    this.#checkSpace();
    checkPutTarget(this.#kv, request, this.#leaseExists);
    return this.#write((write) => applyPut(this.#kv, write, request));
  }

  deleteRange(init: Request<typeof pb.DeleteRangeRequestSchema>): pb.DeleteRangeResponse {
    const request = create(pb.DeleteRangeRequestSchema, init);
    this.#checkUp();
    checkKey(request.key);
    this.#checkIntact();
    return this.#write((write) => applyDelete(write, request));
  }

  txn(init: Request<typeof pb.TxnRequestSchema>): pb.TxnResponse {
    const request = create(pb.TxnRequestSchema, init);
    this.#checkUp();
    checkTxn(request);
    this.#checkSize(pb.TxnRequestSchema, request);
    this.#checkIntact();
    // Of a transaction etcd counts the puts of both branches, but not those of nested ones.
    const puts = [...request.success, ...request.failure].some((op) => op.request.case === "requestPut");
    if (puts) this.#checkSpace();
    const plan = planTxn(this.#kv, request);
    checkPlan(this.#kv, plan, this.#leaseExists);
    return this.#write((write) => applyPlan(this.#kv, write, plan));
  }

  compact(init: Request<typeof pb.CompactionRequestSchema>): pb.CompactionResponse {
    const request = create(pb.CompactionRequestSchema, init);
    this.#checkUp();
    this.#checkIntact();
    this.#kv.compact(request.revision);
    this.#raftIndex += 1n;
    return this.#headed(create(pb.CompactionResponseSchema, {}));
  }

  // Leases

  leaseGrant(init: Request<typeof pb.LeaseGrantRequestSchema>): pb.LeaseGrantResponse {
    const request = create(pb.LeaseGrantRequestSchema, init);
    this.#checkUp();
    this.#checkIntact();
    this.#checkSpace();
    const lease = this.#lessor.grant(request.ID, request.TTL);
    this.#raftIndex += 1n;
    return this.#headed(create(pb.LeaseGrantResponseSchema, { ID: lease.id, TTL: lease.ttlSeconds }));
  }

  leaseRevoke(init: Request<typeof pb.LeaseRevokeRequestSchema>): pb.LeaseRevokeResponse {
    const { ID } = create(pb.LeaseRevokeRequestSchema, init);
    this.#checkUp();
    this.#checkIntact();
    const lease = this.#lessor.get(ID);
    if (lease === undefined) throw refusals.leaseNotFound();
    return this.#dropLease(lease);
  }

  /** One round of a keepalive stream. A TTL of 0 says that the lease is gone. */
  leaseKeepAlive(init: Request<typeof pb.LeaseKeepAliveRequestSchema>): pb.LeaseKeepAliveResponse {
    const { ID } = create(pb.LeaseKeepAliveRequestSchema, init);
    this.#checkUp();
    // As in etcd, the header is from before a renewal that comes too late.
    const header = this.header();
    const lease = this.#lessor.renew(ID);
    return create(pb.LeaseKeepAliveResponseSchema, { header, ID, TTL: lease?.ttlSeconds ?? 0n });
  }

  /** A TTL of -1 says that there is no such lease. */
  leaseTimeToLive(init: Request<typeof pb.LeaseTimeToLiveRequestSchema>): pb.LeaseTimeToLiveResponse {
    const { ID, keys } = create(pb.LeaseTimeToLiveRequestSchema, init);
    this.#checkUp();
    const lease = this.#lessor.get(ID);
    if (lease === undefined) return this.#headed(create(pb.LeaseTimeToLiveResponseSchema, { ID, TTL: -1n }));
    return this.#headed(
      create(pb.LeaseTimeToLiveResponseSchema, {
        ID,
        TTL: this.#lessor.remainingSeconds(lease),
        grantedTtl: lease.ttlSeconds,
        keys: keys ? keysInOrder(lease) : [],
      }),
    );
  }

  leaseLeases(init: Request<typeof pb.LeaseLeasesRequestSchema> = {}): pb.LeaseLeasesResponse {
    create(pb.LeaseLeasesRequestSchema, init);
    this.#checkUp();
    const leases = this.#lessor.list().map(({ id }) => ({ ID: id }));
    return this.#headed(create(pb.LeaseLeasesResponseSchema, { leases }));
  }

  // The rest

  /**
   * Opens a stream for watches. Their answers go to `sink`, at once and in order. One that
   * requires a leader (clients say so by `hasleader`) ends at `pause`; others fall silent.
   */
  watch(
    sink: WatchSink,
    { requiresLeader = false }: { readonly requiresLeader?: boolean } = {},
  ): WatchStream {
    if (this.#state === "closed") throw refusals.stopped();
    if (this.#state === "paused" && requiresLeader) throw refusals.noLeader();
    return this.#hub.open(sink, requiresLeader);
  }

  status(init: Request<typeof pb.StatusRequestSchema> = {}): pb.StatusResponse {
    create(pb.StatusRequestSchema, init);
    const dbSize = 20_480n;
    return this.#headed(
      create(pb.StatusResponseSchema, {
        version: storeVersion,
        dbSize,
        dbSizeInUse: dbSize,
        leader: this.#state === "up" ? this.memberId : 0n,
        raftIndex: this.#raftIndex,
        raftTerm: this.#raftTerm,
        raftAppliedIndex: this.#raftIndex,
        errors: this.#alarms.list.map(
          ({ alarm, memberId }) =>
            `memberID:${memberId} alarm:${alarm === pb.AlarmType.NOSPACE ? "NOSPACE" : "CORRUPT"} `,
        ),
      }),
    );
  }

  alarm(init: Request<typeof pb.AlarmRequestSchema>): pb.AlarmResponse {
    const request = create(pb.AlarmRequestSchema, init);
    this.#checkUp();
    return this.#headed(create(pb.AlarmResponseSchema, { alarms: this.#alarms.handle(request) }));
  }

  authenticate(init: Request<typeof pb.AuthenticateRequestSchema>): pb.AuthenticateResponse {
    create(pb.AuthenticateRequestSchema, init);
    throw refusals.authNotEnabled();
  }

  // What a test or a simulator does to a store

  /** Gives every lease its full TTL again, as a change of the raft leader does. */
  refillLeases(): void {
    this.#raftTerm += 1n;
    this.#lessor.refillAll();
  }

  /** Revokes every lease that is over now, without waiting for the next scan. */
  expireLeases(): void {
    this.#lessor.expireDue();
  }

  /** The cluster loses its quorum: requests are refused, no lease ends, nothing changes. */
  pause(): void {
    if (this.#state !== "up") return;
    this.#state = "paused";
    this.#lessor.pause();
    this.#hub.loseLeader(refusals.noLeader());
  }

  /** The cluster is back, with a new leader: leases live their full TTL again. */
  resume(): void {
    if (this.#state !== "paused") return;
    this.#state = "up";
    this.#raftTerm += 1n;
    this.#lessor.resume();
  }

  snapshot(): StoreSnapshot {
    return { kv: this.#kv.snapshot(), leases: this.#lessor.snapshot() };
  }

  /** Goes back to a snapshot, as a restore from backup does: the revision too, and every stream breaks. */
  restore(snapshot: StoreSnapshot): void {
    this.#kv.restore(snapshot.kv);
    this.#lessor.restore(snapshot.leases);
    this.#hub.breakAll(refusals.stopped());
  }

  /** Ends every stream and every timer. Requests are refused from now on. */
  close(): void {
    this.#state = "closed";
    this.#lessor.close();
    this.#hub.breakAll(refusals.stopped());
  }

  readonly #leaseExists = (lease: bigint): boolean => this.#lessor.get(lease) !== undefined;

  /** An answer with its header, as things are after the request. */
  #headed<Answer extends Headed>(answer: Answer): Answer {
    answer.header = this.header();
    return answer;
  }

  /** Makes all that `change` does one revision, and tells the watches. */
  #write<Answer extends Headed>(change: (write: MvccWrite) => Answer): Answer {
    this.#onRevision(this.#kv.revision + 1n);
    const write = this.#kv.write();
    // The header comes first: a watch may lead to the next write before this one's answer is out.
    const answer = change(write);
    const changes = write.commit();
    this.#raftIndex += 1n;
    this.#headed(answer);
    for (const one of changes) this.#lessor.rebind(one);
    if (changes.length > 0) this.#hub.publish(changes);
    return answer;
  }

  /** Ends a lease, deleting its keys in one revision, in key order. */
  #dropLease(lease: Lease): pb.LeaseRevokeResponse {
    const keys = keysInOrder(lease);
    this.#lessor.remove(lease.id);
    return this.#write((write) => {
      for (const key of keys) write.deleteRange(keyRange(key, noEnd));
      return create(pb.LeaseRevokeResponseSchema, {});
    });
  }

  #checkUp(): void {
    if (this.#state === "paused") throw refusals.noLeader();
    if (this.#state === "closed") throw refusals.stopped();
  }

  #checkSpace(): void {
    if (this.#alarms.has(pb.AlarmType.NOSPACE)) throw refusals.noSpace();
  }

  #checkIntact(): void {
    if (this.#alarms.has(pb.AlarmType.CORRUPT)) throw refusals.corrupt();
  }

  /** `atLeast` spares small requests the cost of being encoded. */
  #checkSize<Desc extends DescMessage>(schema: Desc, request: MessageShape<Desc>, atLeast?: number): void {
    if (atLeast !== undefined && atLeast < maxRequestBytes / 2) return;
    if (toBinary(schema, request).length + envelopeBytes > maxRequestBytes) throw refusals.requestTooLarge();
  }
}

function keysInOrder({ keys }: Lease): Uint8Array[] {
  return [...keys].sort().map((text) => new Uint8Array(Buffer.from(text, "latin1")));
}

/** An id for a cluster or a member: 64 bits, never 0. */
export function randomId(clock: Clock): bigint {
  const part = (): bigint => BigInt(Math.floor(clock.random() * 0x1_0000_0000));
  return (part() << 32n) | part() || 1n;
}
