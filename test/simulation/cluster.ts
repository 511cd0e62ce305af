import { create } from "@bufbuild/protobuf";
import type { Clock } from "../../src/clock.ts";
import { StatusError } from "../../src/devserver/status-error.ts";
import { Store, type StoreSnapshot } from "../../src/devserver/store.ts";
import { toText } from "../../src/etcd/bytes.ts";
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  AuthenticateResponseSchema,
  type LeaseGrantRequest,
  type LeaseKeepAliveRequest,
  type TxnResponse,
} from "../../src/etcd/gen/etcd_pb.ts";
import { kvsOf } from "../../src/etcd/ops.ts";
import type { Metadata, RpcStatus } from "../../src/etcd/transport.ts";
import type { Agenda } from "./agenda.ts";
import { claim } from "./claims.ts";
import { EtcdMember } from "./etcd-member.ts";
import { statuses } from "./etcd-status.ts";
import type { Host } from "./host.ts";
import type { Incoming, Outcome } from "./link.ts";
import type { Random } from "./random.ts";
import type { Actor, Truth } from "./truth.ts";

export interface ClusterOptions {
  readonly agenda: Agenda;
  readonly random: Random;
  readonly truth: Truth;
  readonly endpoints: number;
  readonly auth: boolean;
  /** etcd decides what it grants. */
  readonly mostTtlSeconds: number;
}

interface Granted {
  readonly ttlMs: number;
  readonly owner: Actor;
  renewedAt: number;
}

/** etcd as its clients see it: one store, and several members in front of it that have troubles of their own. */
export class Cluster {
  readonly agenda: Agenda;
  readonly random: Random;
  readonly truth: Truth;
  readonly members: readonly EtcdMember[];
  readonly auth: boolean;
  store: Store;
  readonly #mostTtlSeconds: number;
  readonly #clock: Clock;
  /** Counts the changes of users, each of which makes all tokens invalid. */
  #tokens = 1;
  #paused = 0;
  #electing = 0;
  #held: (() => void)[] = [];
  #noSpace = 0;
  /** What each lease was granted for, and to whom. */
  readonly leases: Map<bigint, Granted> = new Map();
  /** When a process last got its own key read, by the key's claim. */
  readonly seen: Map<string, number> = new Map();

  constructor({ agenda, random, truth, endpoints, auth, mostTtlSeconds }: ClusterOptions) {
    this.agenda = agenda;
    this.random = random;
    this.truth = truth;
    this.auth = auth;
    this.#mostTtlSeconds = mostTtlSeconds;
    this.#clock = {
      now: () => agenda.now,
      at: (instant, task) => agenda.at(instant, () => truth.as("etcd", task)),
      date: () => new Date(agenda.now),
      random: () => random.next(),
    };
    this.store = new Store({ clock: this.#clock });
    truth.follow(this.store);
    this.members = Array.from({ length: endpoints }, (_, at) => new EtcdMember(this, `etcd-${at + 1}:2379`));
  }

  /** Whether requests find no leader now. */
  get electing(): boolean {
    return this.#electing > 0;
  }

  /** A new raft leader is being chosen: requests wait or fail, and every lease gets its full time. */
  elect(): () => void {
    this.#electing++;
    this.store.refillLeases();
    return () => {
      if (--this.#electing > 0) return;
      this.store.refillLeases();
      this.#release();
    };
  }

  /** No majority: nothing is answered, no lease ends. */
  pause(): () => void {
    if (this.#paused++ === 0) this.store.pause();
    return () => {
      if (--this.#paused > 0) return;
      this.store.resume();
      this.#release();
      for (const member of this.members) member.feed();
    };
  }

  get paused(): boolean {
    return this.#paused > 0;
  }

  /** Runs `task` when there is a leader again. */
  hold(task: () => void): void {
    this.#held.push(task);
  }

  #release(): void {
    if (this.#paused > 0 || this.#electing > 0) return;
    for (const task of this.#held.splice(0))
      this.agenda.at(this.agenda.now + this.random.between(0, 50), task);
  }

  /** The disk is full. */
  fill(): () => void {
    if (this.#noSpace++ === 0) this.#alarm();
    return () => {
      if (--this.#noSpace === 0) this.#alarm();
    };
  }

  get token(): string {
    return `token-${this.#tokens}`;
  }

  invalidateTokens(): void {
    this.#tokens++;
  }

  /** Goes back to a backup, as the same cluster or as another. */
  restore(snapshot: StoreSnapshot, otherCluster: boolean): void {
    if (otherCluster) {
      this.store.close();
      this.store = new Store({ clock: this.#clock });
    } else if (this.#paused > 0) this.store.resume();
    this.truth.as("restore", () => this.store.restore(snapshot));
    this.truth.restored(this.store);
    if (this.#paused > 0) this.store.pause();
    if (otherCluster) this.#alarm();
  }

  #alarm(): void {
    const { ACTIVATE, DEACTIVATE } = AlarmRequest_AlarmAction;
    const action = this.#noSpace > 0 ? ACTIVATE : DEACTIVATE;
    // An outage refuses this, too; an operator would try again.
    if (this.paused) this.hold(() => this.#alarm());
    else this.store.alarm({ action, alarm: AlarmType.NOSPACE, memberId: 1n });
  }

  /** What is wrong with the credentials, if anything. */
  refusal(method: string, metadata: Metadata): RpcStatus | undefined {
    if (!this.auth || method === "Authenticate") return undefined;
    const { token } = metadata;
    if (token === undefined) return statuses.noUser;
    return token === this.token ? undefined : statuses.invalidToken;
  }

  /** Carries a request out. */
  carryOut({ host, method, localName, message }: Incoming): Outcome {
    if (method === "Authenticate" && this.auth) {
      if (this.paused) return { status: statuses.noLeader };
      return { response: create(AuthenticateResponseSchema, { token: this.token }) };
    }
    // A renewal that comes too late makes etcd notice that the lease is over.
    const actor = method === "LeaseKeepAlive" ? "etcd" : host;
    try {
      const response = this.truth.as(actor, () => this.#call(localName, this.#limited(method, message)));
      if (method === "Txn") this.#read(response as TxnResponse, host);
      if (method === "LeaseGrant") this.#granted(response as { ID: bigint; TTL: bigint }, host);
      if (method === "LeaseKeepAlive") {
        const lease = this.leases.get((message as LeaseKeepAliveRequest).ID);
        if (lease !== undefined) lease.renewedAt = this.agenda.now;
      }
      return { response };
    } catch (error) {
      if (error instanceof StatusError) return { status: { code: error.code, message: error.message } };
      throw error;
    }
  }

  #read({ responses }: TxnResponse, host: Host): void {
    for (const kv of responses.flatMap(kvsOf)) {
      if (this.leases.get(kv.lease)?.owner !== host) continue;
      this.seen.set(claim(toText(kv.key), kv.createRevision), this.agenda.now);
    }
  }

  #limited(method: string, message: unknown): unknown {
    if (method !== "LeaseGrant") return message;
    const request = message as LeaseGrantRequest;
    const most = BigInt(this.#mostTtlSeconds);
    return request.TTL > most ? { ...request, TTL: most } : request;
  }

  #call(localName: string, message: unknown): unknown {
    const method = this.store[localName as keyof Store] as unknown;
    if (typeof method !== "function") throw new StatusError(2, `the store has no ${localName}`);
    return method.call(this.store, message);
  }

  #granted({ ID, TTL }: { readonly ID: bigint; readonly TTL: bigint }, owner: Actor): void {
    const lease: Granted = { ttlMs: Number(TTL) * 1_000, owner, renewedAt: this.agenda.now };
    this.leases.set(ID, lease);
    this.#watchEnd(lease);
  }

  /** etcd promises the TTL and no more: a lease may end right after it, and here it does. */
  #watchEnd(lease: Granted): void {
    this.agenda.at(lease.renewedAt + lease.ttlMs + 0.01, () => {
      if (this.agenda.now < lease.renewedAt + lease.ttlMs) this.#watchEnd(lease);
      else this.truth.as("etcd", () => this.store.expireLeases());
    });
  }
}
