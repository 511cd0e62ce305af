import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { type Clock, systemClock } from "../clock.ts";
import { badOption } from "../errors.ts";
import { guarded, type Logger, silentLogger } from "../log.ts";
import type { User } from "./authentication.ts";
import { type Bytes, type KeyRangeOptions, keyRange, toBytes } from "./bytes.ts";
import { type Endpoint, parseEndpoint, parseEndpoints } from "./endpoint.ts";
import { classify, etcdError } from "./failure.ts";
import {
  Cluster,
  type CompactionResponse,
  type DeleteRangeResponse,
  KV,
  Lease,
  type LeaseGrantResponse,
  type LeaseLeasesResponse,
  type LeaseRevokeResponse,
  type LeaseTimeToLiveResponse,
  Maintenance,
  type MemberListResponse,
  type PutResponse,
  type RangeResponse,
  type StatusResponse,
  type TxnResponse,
} from "./gen/etcd_pb.ts";
import { GrpcTransport } from "./grpc-transport.ts";
import type { StoreRestored } from "./history.ts";
import { grantLease, type LeaseGrantOptions } from "./lease-grant.ts";
import { LinkedSignal } from "./linked-signal.ts";
import { type RangeSort, rangeSort, type TxnRequest } from "./ops.ts";
import { Pool } from "./pool.ts";
import { type ReadyOptions, ready } from "./ready.ts";
import {
  type Answer,
  type CallOptions,
  checkAttemptTimeoutMs,
  checkMs,
  type Question,
  type RequestOptions,
  Requests,
  silence,
  unary,
} from "./requests.ts";
import { secureContext, type TlsOptions, tlsOver } from "./tls.ts";
import type { Connect, RpcStatus, Stream, StreamListener } from "./transport.ts";
import { type WatchEvents, Watcher, type WatchRequest } from "./watch.ts";
import { watchEvents } from "./watch-events.ts";

export type { StoreRestored } from "./history.ts";
export type { LeaseGrantOptions } from "./lease-grant.ts";
export type { ReadyOptions } from "./ready.ts";
export type { Answer, CallOptions, RequestOptions } from "./requests.ts";

/** What a client needs to know. */
export interface EtcdOptions {
  /**
   * `host:port` as etcdctl takes it (TLS if `tls` is given), `http://…`, `https://…`, `[::1]:2379`; without a port,
   * 2379. Names are looked up at every new connection.
   */
  readonly endpoints: readonly string[];
  /** For `https` endpoints; an empty object asks for TLS with Node's own authorities. */
  readonly tls?: TlsOptions;
  /** User name for etcd's own authentication; goes with `password`. */
  readonly user?: string;
  /** Never logged, never part of an error. */
  readonly password?: string;
  /**
   * Milliseconds that one endpoint has for an answer before the next is asked; twice that where
   * a connection must be opened first. @defaultValue 2000
   */
  readonly attemptTimeoutMs?: number;
  /** @defaultValue silent */
  readonly logger?: Logger;
  /** @internal The source of time. */
  readonly clock?: Clock;
  /** @internal The way to an endpoint, where it is not gRPC over TCP. */
  readonly connect?: Connect;
}

/** All that another thread needs to connect by itself. */
export type Connection = Pick<EtcdOptions, "endpoints" | "tls" | "user" | "password" | "attemptTimeoutMs">;

/** What to read, beside the key. */
export interface RangeOptions extends CallOptions, KeyRangeOptions {
  /** How many keys at most; 0 for all. @defaultValue 0 */
  readonly limit?: number;
  /** The state to read, by revision; 0 for the newest. `COMPACTED` where it is no longer stored. @defaultValue 0 */
  readonly revision?: bigint;
  /** Leaves the values out. @defaultValue false */
  readonly keysOnly?: boolean;
  /** Only counts. @defaultValue false */
  readonly countOnly?: boolean;
  /** Read from the asked member's own state, which may be old, and which needs no raft leader. @defaultValue false */
  readonly serializable?: boolean;
  /** The order of the answer, which `limit` cuts. @defaultValue by key, ascending */
  readonly sort?: RangeSort;
}

/** How to put, beside key and value. */
export interface PutOptions extends CallOptions {
  /** The lease that the key lives and dies with. @defaultValue none */
  readonly lease?: bigint;
  /** Whether the answer holds what was there before. @defaultValue false */
  readonly prevKv?: boolean;
}

/** What to delete, beside the key. */
export interface DeleteOptions extends CallOptions, KeyRangeOptions {
  /** Whether the answer holds what was deleted. @defaultValue false */
  readonly prevKv?: boolean;
}

/**
 * A client of an etcd cluster. Creating one does no I/O; connections open at the first request. Each request goes
 * to one endpoint at a time and on to the next while its time lasts. One that changes something is not repeated once
 * it may have been carried out.
 *
 * Every request rejects with an `EtcdError`: `ETCD_UNAVAILABLE` when no endpoint gave a usable answer in time,
 * `AUTH_FAILED`, `PERMISSION_DENIED`, `SESSION_LOST` (there is no such lease), `COMPACTED`, or `ETCD_REFUSED`; its
 * `mayHaveApplied` tells whether it may have taken effect all the same. Other rejections are the signal's reason,
 * `BAD_OPTION`, and `CLOSED` after `close()`.
 */
export class Etcd implements AsyncDisposable {
  /** @internal */
  readonly clock: Clock;
  /** @internal */
  readonly logger: Logger;
  /** Milliseconds that one endpoint has for an answer. */
  readonly attemptTimeoutMs: number;
  readonly #requests: Requests;
  readonly #watcher: Watcher;
  readonly #connection: Connection | undefined;

  /** Throws `BAD_OPTION`, also for TLS files that cannot be read. */
  constructor(options: EtcdOptions) {
    if (typeof options !== "object" || options === null) {
      throw badOption("options", 'an object such as { endpoints: ["127.0.0.1:2379"] }', options);
    }
    const { endpoints, tls, attemptTimeoutMs = 2_000, logger = silentLogger, clock = systemClock } = options;
    checkAttemptTimeoutMs(attemptTimeoutMs);
    if (tls !== undefined && (typeof tls !== "object" || tls === null)) {
      throw badOption("tls", "an object with ca, cert and key", tls);
    }
    const user = userOf(options);
    const parsed = parseEndpoints(endpoints, tls !== undefined);
    // Files that cannot be read are told now, not at the first request.
    if (parsed.some((each) => each.secure)) secureContext(tls ?? {});
    const byGrpc = (endpoint: Endpoint): GrpcTransport =>
      new GrpcTransport(endpoint, {
        clock,
        connectTimeoutMs: 2 * attemptTimeoutMs,
        secure: endpoint.secure ? tlsOver(endpoint.host, tls ?? {}) : undefined,
      });
    this.clock = clock;
    this.logger = guarded(logger);
    this.attemptTimeoutMs = attemptTimeoutMs;
    this.#connection = connectionOf(options, clock);
    const pool = new Pool(parsed, options.connect ?? byGrpc, clock);
    this.#requests = new Requests({ pool, clock, logger: this.logger, attemptTimeoutMs, user });
    this.#watcher = new Watcher(this);
  }

  /** The endpoints by name, as logs show them. */
  get endpoints(): readonly string[] {
    return this.#requests.pool.peers.map((peer) => peer.endpoint.name);
  }

  /** @internal What endpoints said last that was no answer. */
  get troubles(): readonly string[] {
    return this.#requests.troubles;
  }

  /**
   * Waits until some endpoint answers a linearizable read. Rejects with `ETCD_UNAVAILABLE`, naming each endpoint and
   * what was wrong with it, when `timeoutMs` has passed; at once with `AUTH_FAILED` for refused or missing credentials.
   */
  ready(options: ReadyOptions = {}): Promise<void> {
    return ready(this.#requests, options);
  }

  /** Reads a key or a range, by default the newest state that a majority has. */
  async range(key: Bytes, options: RangeOptions = {}): Promise<RangeResponse> {
    const { limit = 0, revision = 0n, keysOnly = false, countOnly = false, serializable = false } = options;
    const sorted = options.sort === undefined ? {} : rangeSort(options.sort);
    if (!Number.isSafeInteger(limit) || limit < 0) throw badOption("limit", "an integer of 0 or more", limit);
    const request = {
      ...{ ...keyRange(key, options), limit: BigInt(limit), revision },
      ...{ keysOnly, countOnly, serializable, ...sorted },
    };
    const question = { ...unary(KV.method.range, request), leaderless: serializable };
    return (await this.ask(question, { ...options, idempotent: true })).response;
  }

  /** Puts a value. */
  async put(key: Bytes, value: Bytes, options: PutOptions = {}): Promise<PutResponse> {
    const { lease = 0n, prevKv = false } = options;
    const request = { key: toBytes(key), value: toBytes(value), lease, prevKv };
    return (await this.call(KV.method.put, request, { ...options, idempotent: false })).response;
  }

  /** Deletes a key or a range. */
  async delete(key: Bytes, options: DeleteOptions = {}): Promise<DeleteRangeResponse> {
    const request = { ...keyRange(key, options), prevKv: options.prevKv ?? false };
    return (await this.call(KV.method.deleteRange, request, { ...options, idempotent: false })).response;
  }

  /** Compares, and does one list of operations or the other, all at one revision. */
  async txn(request: TxnRequest, options: CallOptions = {}): Promise<TxnResponse> {
    const { compare = [], success = [], failure = [] } = request;
    const init = { compare: [...compare], success: [...success], failure: [...failure] };
    return (await this.call(KV.method.txn, init, { ...options, idempotent: false })).response;
  }

  /** Drops the states before `revision`. With `physical` the answer comes when they are gone from the disk, too. */
  async compact(
    revision: bigint,
    options: CallOptions & { readonly physical?: boolean } = {},
  ): Promise<CompactionResponse> {
    const request = { revision, physical: options.physical ?? false };
    return (await this.call(KV.method.compact, request, { ...options, idempotent: false })).response;
  }

  /**
   * Grants a lease of `ttlSeconds`, a whole number; etcd may grant more, as the answer tells. Without `leaseId` the
   * client chooses the id, so that a grant whose answer was lost is repeated safely.
   */
  async leaseGrant(ttlSeconds: number, options: LeaseGrantOptions = {}): Promise<LeaseGrantResponse> {
    if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1) {
      throw badOption("ttlSeconds", "an integer of 1 or more", ttlSeconds);
    }
    return (await this.grant(ttlSeconds, options)).response;
  }

  /** Ends a lease and deletes its keys. Rejects with `SESSION_LOST` if there was no such lease. */
  async leaseRevoke(leaseId: bigint, options: CallOptions = {}): Promise<LeaseRevokeResponse> {
    return (await this.call(Lease.method.leaseRevoke, { ID: leaseId }, { ...options, idempotent: true }))
      .response;
  }

  /** What is left of a lease, in whole seconds rounded down; a TTL of -1 for one that does not exist. */
  async leaseTimeToLive(
    leaseId: bigint,
    options: CallOptions & { readonly keys?: boolean } = {},
  ): Promise<LeaseTimeToLiveResponse> {
    const request = { ID: leaseId, keys: options.keys ?? false };
    return (await this.call(Lease.method.leaseTimeToLive, request, { ...options, idempotent: true }))
      .response;
  }

  /** The ids of all leases. */
  async leaseList(options: CallOptions = {}): Promise<LeaseLeasesResponse> {
    return (await this.call(Lease.method.leaseLeases, {}, { ...options, idempotent: true })).response;
  }

  /** The members of the cluster, as the asked one knows them: this works without a majority, too. */
  async memberList(options: CallOptions = {}): Promise<MemberListResponse> {
    const question = { ...unary(Cluster.method.memberList, {}), leaderless: true };
    return (await this.ask(question, { ...options, idempotent: true })).response;
  }

  /** The state of one member, asked itself and only once, but for a token it refuses; also where it has no raft leader. */
  async status(endpoint: string, options: CallOptions = {}): Promise<StatusResponse> {
    const { pool, clock, closedSignal, authentication } = this.#requests;
    const { name } = parseEndpoint(endpoint, false);
    const peer = pool.peers.find((each) => each.endpoint.name === name);
    if (peer === undefined) throw badOption("endpoint", `one of ${this.endpoints.join(", ")}`, endpoint);
    const { timeoutMs = 10_000, attemptTimeoutMs, signal } = options;
    checkMs("timeoutMs", timeoutMs);
    if (attemptTimeoutMs !== undefined) checkAttemptTimeoutMs(attemptTimeoutMs);
    const question = { ...unary(Maintenance.method.status, {}), leaderless: true };
    const over = new LinkedSignal(signal, closedSignal);
    const late = etcdError(silence(timeoutMs), "status", name);
    const cancelTimer = clock.at(clock.now() + timeoutMs, () => over.abort(late));
    try {
      for (let refused = !authentication.hasUser; ; refused = true) {
        await authentication.authorize(over.signal);
        const { token } = authentication;
        const outcome = await this.#requests.attempt(peer, question, {
          signal: over.signal,
          attemptTimeoutMs,
        });
        if (outcome.at === "answered") return outcome.answer.response;
        if (refused || classify(outcome.status).remedy !== "authenticate") {
          throw etcdError(outcome.status, "status", name);
        }
        authentication.refused(token);
      }
    } finally {
      cancelTimer();
      over.release();
    }
  }

  /**
   * Follows a key or a range. The iteration gives the events of whole revisions in order, across broken connections.
   * The watch opens when the iteration begins; so give `startRevision` where no event may be missed.
   *
   * It ends by throwing: `COMPACTED` where events may have been lost to compaction or the store went back (read anew, then
   * watch from the read's revision + 1), `PERMISSION_DENIED`, `AUTH_FAILED`, `ETCD_REFUSED`, the signal's reason, or
   * `CLOSED`.
   */
  watch(request: WatchRequest, options: { readonly signal?: AbortSignal } = {}): AsyncIterable<WatchEvents> {
    return watchEvents(this, this.#watcher, request, options.signal);
  }

  /** Ends every request, watch and connection. */
  async close(): Promise<void> {
    this.#requests.close();
    this.#requests.pool.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal Aborts when the client is closed. */
  get closedSignal(): AbortSignal {
    return this.#requests.closedSignal;
  }

  /**
   * @internal How another thread connects to the same cluster; undefined where it cannot, for time or the way to etcd
   * is the caller's own.
   */
  get connection(): Connection | undefined {
    return this.#connection;
  }

  /** @internal A watcher with a stream of its own, which no other watch can hold up. */
  openWatcher(): Watcher {
    return new Watcher(this);
  }

  /** @internal Tells when an answer shows that the store went back or is another one. */
  onRestored(listener: (what: StoreRestored) => void): () => void {
    return this.#requests.history.onRestored(listener);
  }

  /** @internal */
  grant(ttlSeconds: number, options: LeaseGrantOptions = {}): Promise<Answer<LeaseGrantResponse>> {
    return grantLease(this.#requests, ttlSeconds, options);
  }

  /** @internal One request to whichever endpoint answers. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: RequestOptions,
  ): Promise<Answer<MessageShape<O>>> {
    return this.ask(unary(method, request), options);
  }

  /** @internal The same for what is no unary request. */
  ask<T>(question: Question<T>, options: RequestOptions): Promise<Answer<T>> {
    return this.#requests.ask(question, options);
  }

  /** @internal Whether a refused token can be replaced. */
  get hasUser(): boolean {
    return this.#requests.authentication.hasUser;
  }

  /**
   * @internal Gets a token if one is needed and there is none. Rejects with `AUTH_FAILED`, `ETCD_UNAVAILABLE`, `CLOSED`
   * or the signal's reason.
   */
  async authorize(options: CallOptions = {}): Promise<void> {
    const { authentication, closedSignal } = this.#requests;
    closedSignal.throwIfAborted();
    await authentication.authorize(options.signal, options.attemptTimeoutMs);
  }

  /**
   * @internal Opens a stream on the endpoint in use. Nobody but its owner knows how long an answer may take, so the
   * owner reports: see `OpenStream`.
   */
  openStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    listener: StreamListener<MessageShape<O>>,
  ): OpenStream<MessageInitShape<I>> {
    const { pool, authentication } = this.#requests;
    const peer = pool.current;
    const { token } = authentication;
    const openTimeoutFactor = peer.transport.connected ? 1 : 2;
    const stream = peer.transport.stream(method, this.#requests.metadata(), listener);
    let sentAt = this.clock.now();
    return {
      endpoint: peer.endpoint.name,
      openTimeoutFactor,
      send: (message) => {
        sentAt = this.clock.now();
        stream.send(message);
      },
      cancel: () => stream.cancel(),
      succeeded: () => pool.succeeded(peer),
      refused: () => authentication.refused(token),
      failed: (status) => {
        if (classify(status).remedy === "authenticate") authentication.refused(token);
        pool.failed(peer, status);
      },
      // The owner's patience is its own: what counts is when it last asked.
      stalled: () => pool.timedOut(peer, silence(this.clock.now() - sentAt), sentAt),
      onMove: (move) => pool.host({ peer, move }),
    };
  }
}

/** A stream, and a way to say how its endpoint behaves. */
export interface OpenStream<I> extends Stream<I> {
  readonly endpoint: string;
  /** 2 where a connection must be opened first: its first answer may take so many times longer. */
  readonly openTimeoutFactor: 1 | 2;
  /** It answered. */
  succeeded(): void;
  /** etcd refused the token that it was opened with. */
  refused(): void;
  /** It ended. */
  failed(status: RpcStatus): void;
  /** It let a time limit pass. */
  stalled(): void;
  /** `move` is called when this endpoint has fallen silent while another one answers. */
  onMove(move: () => void): () => void;
}

function connectionOf(options: EtcdOptions, clock: Clock): Connection | undefined {
  if (clock !== systemClock || options.connect !== undefined) return undefined;
  const { endpoints, tls, user, password, attemptTimeoutMs } = options;
  return {
    endpoints: [...endpoints],
    ...(tls === undefined ? {} : { tls: textsOf(tls) }),
    ...(user === undefined || password === undefined ? {} : { user, password }),
    ...(attemptTimeoutMs === undefined ? {} : { attemptTimeoutMs }),
  };
}

/** The fields that are known, as text: a buffer would arrive as another type, a function not at all. */
function textsOf({ ca, cert, key }: TlsOptions): TlsOptions {
  return {
    ...(ca === undefined ? {} : { ca: String(ca) }),
    ...(cert === undefined ? {} : { cert: String(cert) }),
    ...(key === undefined ? {} : { key: String(key) }),
  };
}

function userOf({ user, password }: EtcdOptions): User | undefined {
  if (user === undefined && password === undefined) return undefined;
  if (user === undefined || password === undefined) {
    const given = user === undefined ? "a password alone" : "a user alone";
    throw badOption("user and password", "given together", given);
  }
  if (user === "") throw badOption("user", "a name", user);
  // Refused here, for the encoder's error would show the value.
  if (typeof password !== "string") throw badOption("password", "text", `a ${typeof password}`);
  if (/\p{Surrogate}/u.test(password)) throw badOption("password", "well-formed text", "other text");
  return { name: user, password };
}
