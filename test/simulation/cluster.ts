import { create } from "@bufbuild/protobuf";
import type { Clock } from "../../src/clock.ts";
import { StatusError } from "../../src/devserver/status-error.ts";
import { Store, type StoreSnapshot } from "../../src/devserver/store.ts";
import type { WatchStream } from "../../src/devserver/watch-stream.ts";
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  AuthenticateResponseSchema,
  type LeaseGrantRequest,
  type LeaseKeepAliveRequest,
  type WatchRequest,
  type WatchResponse,
  WatchResponseSchema,
} from "../../src/etcd/gen/etcd_pb.ts";
import type { Metadata, RpcStatus } from "../../src/etcd/transport.ts";
import type { Agenda } from "./agenda.ts";
import type { Incoming, Lane, Outcome, Server, ServerStream, StreamClient } from "./network.ts";
import type { Random } from "./random.ts";
import type { Actor, Truth } from "./truth.ts";

const statuses = {
  noLeader: { code: 14, message: "etcdserver: no leader" },
  leaderChanged: { code: 14, message: "etcdserver: leader changed" },
  timedOut: { code: 14, message: "etcdserver: request timed out" },
  invalidToken: { code: 16, message: "etcdserver: invalid auth token" },
  noUser: { code: 3, message: "etcdserver: user name is empty" },
} as const satisfies Record<string, RpcStatus>;

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

/** One member of etcd. */
export class EtcdMember implements Server {
  readonly name: string;
  readonly #cluster: Cluster;
  readonly #streams = new Set<MemberStream>();
  #stopped = 0;
  #frozen = 0;
  #isolated = 0;
  /** Since when the member knows that it is on its own. */
  #knowsIsolated = false;
  #slow: number[] = [];
  #starved = 0;
  #held: (() => void)[] = [];
  onReset: () => void = () => {};

  constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.name = name;
  }

  get listening(): boolean {
    return this.#stopped === 0;
  }

  /** Whether watches hear nothing here. */
  get deaf(): boolean {
    return this.#starved > 0 || this.#frozen > 0 || this.#isolated > 0 || this.#cluster.paused;
  }

  /** The process of this member ends. */
  stop(): () => void {
    this.#stopped++;
    this.#held = [];
    this.onReset();
    return () => {
      this.#stopped--;
    };
  }

  /** The process is stopped by a signal; what was sent meanwhile it handles later. */
  freeze(): () => void {
    this.#frozen++;
    return () => {
      if (--this.#frozen === 0) this.#release();
    };
  }

  /** The member is cut off from the others, and learns it after a while. */
  isolate(noticeMs: number): () => void {
    this.#isolated++;
    const { agenda } = this.#cluster;
    const cancel = agenda.at(agenda.now + noticeMs, () => {
      if (this.#isolated === 0) return;
      this.#knowsIsolated = true;
      for (const stream of [...this.#streams]) stream.loseLeader();
    });
    return () => {
      cancel();
      if (--this.#isolated > 0) return;
      this.#knowsIsolated = false;
      this.#release();
    };
  }

  /** Everything takes up to `ms` longer here, and requests overtake each other. */
  slow(ms: number): () => void {
    this.#slow.push(ms);
    return () => {
      this.#slow.splice(this.#slow.indexOf(ms), 1);
    };
  }

  /** Watches hear nothing while all else goes on. */
  starve(): () => void {
    this.#starved++;
    return () => {
      this.#starved--;
      this.feed();
    };
  }

  unary(request: Incoming, answer: (outcome: Outcome) => void): void {
    this.#whenUp(() => this.#handle(request, answer));
  }

  stream(request: Omit<Incoming, "message">, client: StreamClient): ServerStream {
    const stream = new MemberStream(this, this.#cluster, request, client);
    this.#streams.add(stream);
    return stream;
  }

  /** @internal */
  forget(stream: MemberStream): void {
    this.#streams.delete(stream);
  }

  /** Hands on the events that were held up. */
  feed(): void {
    for (const stream of this.#streams) stream.feed();
  }

  /** @internal How long a request takes here. */
  get delayMs(): number {
    return this.#slow.length === 0 ? 0 : this.#cluster.random.next() * Math.max(...this.#slow);
  }

  /** @internal Runs `task` when the process runs. */
  whenThawed(task: () => void): void {
    if (this.#frozen > 0) this.#held.push(task);
    else task();
  }

  #whenUp(task: () => void): void {
    const { agenda } = this.#cluster;
    const run = (): void => {
      if (this.listening) this.whenThawed(task);
    };
    const { delayMs } = this;
    if (delayMs === 0) run();
    else agenda.at(agenda.now + delayMs, run);
  }

  #handle(request: Incoming, answer: (outcome: Outcome) => void): void {
    const cluster = this.#cluster;
    const { random } = cluster;
    const { method, metadata } = request;
    const wantsLeader = metadata["hasleader"] === "true";
    const refusal = cluster.refusal(method, metadata);
    if (refusal !== undefined) {
      answer({ status: refusal });
    } else if (this.#isolated > 0) {
      if (this.#knowsIsolated && wantsLeader) answer({ status: statuses.noLeader });
      else
        this.waitForQuorum(
          () => answer(cluster.carryOut(request)),
          () => answer({ status: statuses.timedOut }),
        );
    } else if (cluster.electing || cluster.paused) {
      if (random.chance(0.4))
        answer({ status: random.chance(0.5) ? statuses.noLeader : statuses.leaderChanged });
      else
        this.waitForQuorum(
          () => answer(cluster.carryOut(request)),
          () => answer({ status: statuses.timedOut }),
        );
    } else {
      answer(cluster.carryOut(request));
    }
  }

  /** @internal A request that found no leader may be carried out when there is one again, asked for or not. */
  waitForQuorum(carryOut: () => void, giveUp: () => void): void {
    const { agenda, random } = this.#cluster;
    if (random.chance(0.5)) {
      agenda.at(agenda.now + 7_000, giveUp);
    } else if (this.#isolated > 0) {
      this.#held.push(carryOut);
    } else {
      this.#cluster.hold(carryOut);
    }
  }

  /** @internal */
  get isolated(): boolean {
    return this.#isolated > 0;
  }

  get knowsIsolated(): boolean {
    return this.#knowsIsolated;
  }

  #release(): void {
    if (this.#frozen > 0 || this.#isolated > 0) return;
    const { agenda } = this.#cluster;
    for (const task of this.#held.splice(0)) agenda.at(agenda.now, task);
    this.feed();
  }
}

interface WatchLane extends Lane {
  readonly held: WatchResponse[];
}

/** A client's stream at a member: keepalives or watches. */
class MemberStream implements ServerStream {
  readonly #member: EtcdMember;
  readonly #cluster: Cluster;
  readonly #request: Omit<Incoming, "message">;
  readonly #client: StreamClient;
  readonly #lane: Lane = { last: 0 };
  readonly #watches = new Map<bigint, WatchLane>();
  #watch: WatchStream | undefined;
  #handled: Lane = { last: 0 };
  #over = false;

  constructor(
    member: EtcdMember,
    cluster: Cluster,
    request: Omit<Incoming, "message">,
    client: StreamClient,
  ) {
    this.#member = member;
    this.#cluster = cluster;
    this.#request = request;
    this.#client = client;
  }

  handle(message: unknown): void {
    const { delayMs } = this.#member;
    const { agenda } = this.#cluster;
    const run = (): void => {
      if (this.#member.listening) this.#member.whenThawed(() => this.#handle(message));
    };
    const at = Math.max(this.#handled.last, agenda.now + delayMs);
    if (at <= agenda.now) {
      run();
      return;
    }
    this.#handled.last = at;
    agenda.at(at, run);
  }

  /** The member has found that there is no leader. */
  loseLeader(): void {
    if (this.#request.metadata["hasleader"] === "true") this.#end(statuses.noLeader);
  }

  /** Hands on what was held up. */
  feed(): void {
    if (this.#member.deaf || this.#request.link.starved > 0) return;
    for (const lane of this.#watches.values()) {
      for (const response of lane.held.splice(0)) this.#client.send(response, lane);
    }
  }

  close(): void {
    this.#over = true;
    this.#member.forget(this);
    this.#watch?.close();
    this.#watch = undefined;
  }

  #handle(message: unknown): void {
    const { method, metadata } = this.#request;
    if (this.#over && method === "Watch") return;
    if (this.#member.knowsIsolated && metadata["hasleader"] === "true") {
      this.#end(statuses.noLeader);
      return;
    }
    if (method === "Watch") this.#handleWatch(message as WatchRequest);
    else this.#keepAlive(message);
  }

  #keepAlive(message: unknown): void {
    const cluster = this.#cluster;
    const renew = (): void => {
      const refusal = cluster.refusal("LeaseKeepAlive", this.#request.metadata);
      if (refusal !== undefined) {
        this.#end(refusal);
        return;
      }
      const outcome = cluster.carryOut({ ...this.#request, message });
      if ("status" in outcome) this.#end(outcome.status);
      else this.#client.send(outcome.response, this.#lane);
    };
    if (this.#member.isolated || cluster.electing || cluster.paused) {
      this.#member.waitForQuorum(renew, () => this.#end(statuses.timedOut));
    } else renew();
  }

  #handleWatch(message: WatchRequest): void {
    const cluster = this.#cluster;
    const requiresLeader = this.#request.metadata["hasleader"] === "true";
    const refusal = cluster.refusal("Watch", this.#request.metadata);
    if (refusal !== undefined) {
      this.#refuseWatch(message, refusal);
      return;
    }
    try {
      this.#watch ??= cluster.store.watch(
        {
          send: (response) => this.#send(response),
          end: (error) => this.#end({ code: error.code, message: error.message }),
        },
        { requiresLeader },
      );
      this.#watch.handle(message);
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      this.#end({ code: error.code, message: error.message });
    }
  }

  /** etcd refuses a watch by a message, 3.4 with a text that says less than 3.5's. */
  #refuseWatch(message: WatchRequest, refusal: RpcStatus): void {
    const { random } = this.#cluster;
    if (random.chance(0.3)) {
      this.#end(refusal);
    } else if (message.requestUnion.case === "createRequest") {
      const old = random.chance(0.5);
      const cancelReason = old
        ? "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        : refusal.message;
      const watchId = old ? message.requestUnion.value.watchId : -1n;
      const response = create(WatchResponseSchema, { watchId, created: true, canceled: true, cancelReason });
      this.#client.send(response, this.#lane);
    }
  }

  #send(response: WatchResponse): void {
    if (this.#over) return;
    let lane = this.#watches.get(response.watchId);
    if (lane === undefined) {
      // etcd keeps no order across watches.
      lane = { last: 0, held: [] };
      this.#watches.set(response.watchId, lane);
    }
    const deaf = this.#member.deaf || this.#request.link.starved > 0;
    if (lane.held.length > 0 || (deaf && response.events.length > 0)) lane.held.push(response);
    else {
      const { agenda, random } = this.#cluster;
      lane.last = Math.max(
        lane.last,
        agenda.now + this.#member.delayMs + (random.chance(0.2) ? random.next() * 20 : 0),
      );
      this.#client.send(response, lane);
    }
  }

  #end(status: RpcStatus): void {
    if (this.#over) return;
    this.close();
    const { agenda } = this.#cluster;
    agenda.at(agenda.now, () => this.#client.end(status));
  }
}
