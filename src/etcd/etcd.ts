import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { type Clock, systemClock } from "../clock.ts";
import { badOption, closedError } from "../errors.ts";
import { guarded, type Logger, silentLogger } from "../log.ts";
import { backoffMs, onAbort, sleep } from "../waiting.ts";
import { type Bytes, prefixEnd, toBytes } from "./bytes.ts";
import { type Endpoint, parseEndpoints } from "./endpoint.ts";
import { classify, EtcdError, etcdError, grpc } from "./failure.ts";
import {
  Auth,
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
  type RangeRequestSchema,
  type RangeResponse,
  type ResponseHeader,
  type StatusResponse,
  type TxnRequestSchema,
  type TxnResponse,
} from "./gen/etcd_pb.ts";
import { GrpcTransport } from "./grpc-transport.ts";
import { type Peer, Pool } from "./pool.ts";
import { secureContext, type TlsOptions, tlsOver } from "./tls.ts";
import type { Call, Connect, Metadata, RpcStatus, Stream, StreamListener } from "./transport.ts";
import { type WatchEvents, Watcher, type WatchRequest, watchEvents } from "./watch.ts";

export interface EtcdOptions {
  /** `host:port` as etcdctl takes it (TLS if `tls` is given), `http://…`, `https://…`, `[::1]:2379`. */
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
  readonly logger?: Logger;
  /** @internal The source of time. */
  readonly clock?: Clock;
  /** @internal The way to an endpoint, where it is not gRPC over TCP. */
  readonly connect?: Connect;
}

/** How long a request may take, and what ends it early. */
export interface CallOptions {
  readonly signal?: AbortSignal;
  /** Milliseconds for all attempts together. @defaultValue 10000 */
  readonly timeoutMs?: number;
  /** Milliseconds for one attempt. @defaultValue the client's */
  readonly attemptTimeoutMs?: number;
}

/** @internal */
export interface RequestOptions extends CallOptions {
  /** Whether repeating a request that may have been carried out does no harm. */
  readonly idempotent: boolean;
}

/** @internal An answer, and the instant before its request was sent. */
export interface Answer<T> {
  readonly response: T;
  readonly sentAt: number;
}

/** What to read, beside the key. */
export interface RangeOptions extends CallOptions {
  /** All keys that begin with the key. */
  readonly prefix?: boolean;
  readonly rangeEnd?: Bytes;
  readonly limit?: number;
  readonly revision?: bigint;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  /** Read from the asked member's own state, which may be old. @defaultValue false */
  readonly serializable?: boolean;
  readonly sortOrder?: MessageInitShape<typeof RangeRequestSchema>["sortOrder"];
  readonly sortTarget?: MessageInitShape<typeof RangeRequestSchema>["sortTarget"];
}

export interface PutOptions extends CallOptions {
  readonly lease?: bigint;
  readonly prevKv?: boolean;
}

export interface DeleteOptions extends CallOptions {
  /** All keys that begin with the key. */
  readonly prefix?: boolean;
  readonly rangeEnd?: Bytes;
  readonly prevKv?: boolean;
}

/** What an answer told that cannot be of the store known so far. */
export type StoreRestored = {
  readonly knownRevision: bigint;
  readonly revision: bigint;
  readonly otherCluster: boolean;
};

const defaultTimeoutMs = 10_000;
const requireLeader: Metadata = { hasleader: "true" };

/**
 * A client of an etcd cluster. Creating one does no I/O; connections open at the first request. Each request goes
 * to one endpoint at a time and on to the next while its time lasts (see `rules` in failure.ts).
 */
export class Etcd implements AsyncDisposable {
  /** @internal */
  readonly clock: Clock;
  /** @internal */
  readonly logger: Logger;
  readonly attemptTimeoutMs: number;
  readonly #pool: Pool;
  readonly #user: { readonly name: string; readonly password: string } | undefined;
  readonly #watcher: Watcher;
  readonly #closed = new AbortController();
  readonly #onRestored: Set<(what: StoreRestored) => void> = new Set();
  #token: string | undefined;
  #authenticating: Promise<void> | undefined;
  /** The highest revision a linearizable answer has shown, and whose; a jump back starts another history. */
  #store = { history: 0, clusterId: 0n, revision: 0n };

  constructor(options: EtcdOptions) {
    const {
      endpoints,
      tls,
      user,
      password,
      attemptTimeoutMs = 2_000,
      logger = silentLogger,
      clock = systemClock,
    } = options;
    if (!Number.isFinite(attemptTimeoutMs) || attemptTimeoutMs <= 0) {
      throw badOption("attemptTimeoutMs", "a number of milliseconds above 0", attemptTimeoutMs);
    }
    if ((user === undefined) !== (password === undefined)) {
      throw badOption(
        "user and password",
        "given together",
        user === undefined ? "a password alone" : "a user alone",
      );
    }
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
    this.#user = user === undefined || password === undefined ? undefined : { name: user, password };
    this.#pool = new Pool(parsed, options.connect ?? byGrpc, clock);
    this.#watcher = new Watcher(this);
  }

  /** The endpoints by name, as logs show them. */
  get endpoints(): readonly string[] {
    return this.#pool.peers.map((peer) => peer.endpoint.name);
  }

  /**
   * Waits until some endpoint answers a linearizable read. Rejects with `ETCD_UNAVAILABLE`, naming each endpoint and
   * what was wrong with it, when `timeoutMs` (default 10000) has passed; at once with `AUTH_FAILED` for refused credentials.
   */
  async ready(options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {}): Promise<void> {
    const { timeoutMs = defaultTimeoutMs, signal } = options;
    const over = new AbortController();
    const forget = onAbort(signal, () => over.abort(signal?.reason));
    const forgetClosed = onAbort(this.#closed.signal, () => over.abort(this.#closed.signal.reason));
    // All endpoints at once: one that hangs must not use up the time of one that works.
    const probes = this.#pool.peers.map(async (peer) => {
      for (let failures = 1; ; failures++) {
        try {
          await this.authorize({ timeoutMs, signal: over.signal });
          await this.#attempt(
            peer,
            KV.method.range,
            { key: Uint8Array.of(0), countOnly: true },
            { signal: over.signal },
          );
          return peer;
        } catch (error) {
          over.signal.throwIfAborted();
          if (!isStatus(error)) over.abort(error);
          over.signal.throwIfAborted();
          const { remedy, code } = classify(error as RpcStatus);
          // An etcd that refuses the read for want of rights has answered.
          if (code === "PERMISSION_DENIED") return peer;
          peer.lastFailure = error as RpcStatus;
          if (code === "AUTH_FAILED" && (remedy === "fatal" || this.#user === undefined)) {
            over.abort(etcdError(error as RpcStatus, "ready", peer.endpoint.name));
          }
          if (remedy === "authenticate") this.#token = undefined;
        }
        await sleep(this.clock, backoffMs(this.clock, failures), over.signal);
      }
    });
    const cancel = this.clock.at(this.clock.now() + timeoutMs, () =>
      over.abort(this.#unavailable("ready", timeoutMs)),
    );
    try {
      this.#pool.prefer(await Promise.any(probes));
    } catch {
      // Every probe ends for the one reason.
      throw over.signal.reason;
    } finally {
      cancel();
      forget();
      forgetClosed();
      over.abort(closedError("the probe"));
      await Promise.allSettled(probes);
    }
  }

  async range(key: Bytes, options: RangeOptions = {}): Promise<RangeResponse> {
    const { limit = 0, revision = 0n, keysOnly = false, countOnly = false, serializable = false } = options;
    const { sortOrder = 0, sortTarget = 0 } = options;
    const request = {
      ...{ key: toBytes(key), ...rangeEnd(key, options), limit: BigInt(limit), revision },
      ...{ keysOnly, countOnly, serializable, sortOrder, sortTarget },
    };
    return (await this.call(KV.method.range, request, { ...options, idempotent: true })).response;
  }

  async put(key: Bytes, value: Bytes, options: PutOptions = {}): Promise<PutResponse> {
    const { lease = 0n, prevKv = false } = options;
    const request = { key: toBytes(key), value: toBytes(value), lease, prevKv };
    return (await this.call(KV.method.put, request, { ...options, idempotent: false })).response;
  }

  async delete(key: Bytes, options: DeleteOptions = {}): Promise<DeleteRangeResponse> {
    const request = { key: toBytes(key), prevKv: options.prevKv ?? false, ...rangeEnd(key, options) };
    return (await this.call(KV.method.deleteRange, request, { ...options, idempotent: false })).response;
  }

  async txn(
    request: MessageInitShape<typeof TxnRequestSchema>,
    options: CallOptions = {},
  ): Promise<TxnResponse> {
    return (await this.call(KV.method.txn, request, { ...options, idempotent: false })).response;
  }

  async compact(
    revision: bigint,
    options: CallOptions & { readonly physical?: boolean } = {},
  ): Promise<CompactionResponse> {
    const request = { revision, physical: options.physical ?? false };
    return (await this.call(KV.method.compact, request, { ...options, idempotent: false })).response;
  }

  /**
   * Grants a lease of `ttlSeconds`; etcd may grant more. The client chooses the id, so that a grant whose answer was
   * lost can be repeated.
   */
  async leaseGrant(
    ttlSeconds: number,
    options: CallOptions & { readonly leaseId?: bigint } = {},
  ): Promise<LeaseGrantResponse> {
    return (await this.grant(ttlSeconds, options)).response;
  }

  async leaseRevoke(leaseId: bigint, options: CallOptions = {}): Promise<LeaseRevokeResponse> {
    // A repetition finds the lease gone, which is what was asked for.
    return (await this.call(Lease.method.leaseRevoke, { ID: leaseId }, { ...options, idempotent: true }))
      .response;
  }

  async leaseTimeToLive(
    leaseId: bigint,
    options: CallOptions & { readonly keys?: boolean } = {},
  ): Promise<LeaseTimeToLiveResponse> {
    const request = { ID: leaseId, keys: options.keys ?? false };
    return (await this.call(Lease.method.leaseTimeToLive, request, { ...options, idempotent: true }))
      .response;
  }

  async leaseList(options: CallOptions = {}): Promise<LeaseLeasesResponse> {
    return (await this.call(Lease.method.leaseLeases, {}, { ...options, idempotent: true })).response;
  }

  async memberList(options: CallOptions = {}): Promise<MemberListResponse> {
    return (await this.call(Cluster.method.memberList, {}, { ...options, idempotent: true })).response;
  }

  /** The state of one member, asked itself and only once. @param endpoint one of `endpoints` */
  async status(endpoint: string, options: CallOptions = {}): Promise<StatusResponse> {
    const peer = this.#pool.peers.find((each) => each.endpoint.name === endpoint);
    if (peer === undefined) throw badOption("endpoint", `one of ${this.endpoints.join(", ")}`, endpoint);
    try {
      return (await this.#attempt(peer, Maintenance.method.status, {}, options)).response;
    } catch (error) {
      throw isStatus(error) ? etcdError(error, "status", endpoint) : error;
    }
  }

  /**
   * Follows a key or a range. The iteration gives the events of whole revisions in order, across broken connections;
   * it ends with `COMPACTED` where events were lost to compaction: read anew, then watch from the read's revision + 1.
   */
  watch(request: WatchRequest, options: { readonly signal?: AbortSignal } = {}): AsyncIterable<WatchEvents> {
    return watchEvents(this.#watcher, request, [options.signal, this.#closed.signal]);
  }

  /** Ends every request, watch and connection. */
  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(closedError("the etcd client"));
    this.#watcher.close();
    this.#pool.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal Aborts when the client is closed. */
  get closedSignal(): AbortSignal {
    return this.#closed.signal;
  }

  /** @internal A watcher with a stream of its own, which no other watch can hold up. */
  openWatcher(): Watcher {
    return new Watcher(this);
  }

  /** @internal Tells when an answer shows that the store went back or is another one. */
  onRestored(listener: (what: StoreRestored) => void): () => void {
    this.#onRestored.add(listener);
    return () => this.#onRestored.delete(listener);
  }

  /** @internal */
  async grant(
    ttlSeconds: number,
    options: CallOptions & { readonly leaseId?: bigint } = {},
  ): Promise<Answer<LeaseGrantResponse>> {
    const { leaseId = this.#newLeaseId() } = options;
    const request = { TTL: BigInt(ttlSeconds), ID: leaseId };
    let first: number | undefined;
    const noteSent = (sentAt: number): void => {
      first ??= sentAt;
    };
    const idempotent = true;
    try {
      return await this.#call(Lease.method.leaseGrant, request, { ...options, idempotent }, noteSent);
    } catch (error) {
      const exists = error instanceof EtcdError && error.message.includes("lease already exists");
      if (!exists || first === undefined || options.leaseId !== undefined) throw error;
      // An earlier attempt did reach etcd. Its TTL is not known to be the one asked for: ask.
      const { response } = await this.call(
        Lease.method.leaseTimeToLive,
        { ID: leaseId },
        { ...options, idempotent },
      );
      const header = response.header;
      const granted = {
        $typeName: "etcdserverpb.LeaseGrantResponse",
        ID: leaseId,
        TTL: response.grantedTtl,
        error: "",
      } as const;
      return { response: header === undefined ? granted : { ...granted, header }, sentAt: first };
    }
  }

  /** @internal One request to whichever endpoint answers. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: RequestOptions,
  ): Promise<Answer<MessageShape<O>>> {
    return this.#call(method, request, options);
  }

  /**
   * @internal Opens a stream on the endpoint in use, or on one that was named. `stalled` reports that the stream let
   * a time limit pass, `failed` that it ended, `succeeded` that it answered.
   */
  openStream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    listener: StreamListener<MessageShape<O>>,
  ): OpenStream<MessageInitShape<I>> {
    const peer = this.#pool.current;
    const openTimeoutFactor = peer.transport.connected ? 1 : 2;
    const stream = peer.transport.stream(method, this.#metadata(), listener);
    return {
      endpoint: peer.endpoint.name,
      openTimeoutFactor,
      send: (message) => stream.send(message),
      cancel: () => stream.cancel(),
      succeeded: () => this.#pool.succeeded(peer),
      failed: (status) => this.#pool.failed(peer, status),
      stalled: () => this.#pool.timedOut(peer, silence(this.attemptTimeoutMs)),
      onMove: (move) => this.#pool.host({ peer, move }),
    };
  }

  /** @internal Gets a token if one is needed and there is none; `anew` after etcd refused the one there is. */
  async authorize(options: CallOptions & { readonly anew?: boolean } = {}): Promise<void> {
    if (this.#user === undefined) return;
    if (options.anew === true) this.#token = undefined;
    if (this.#token === undefined) await this.#authenticate(options);
  }

  async #call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: RequestOptions,
    noteSent: (sentAt: number) => void = () => {},
  ): Promise<Answer<MessageShape<O>>> {
    const { timeoutMs = defaultTimeoutMs, signal, idempotent } = options;
    const limit = this.clock.now() + timeoutMs;
    let tokens = 0;
    for (let failures = 1; ; failures++) {
      signal?.throwIfAborted();
      this.#closed.signal.throwIfAborted();
      const left = limit - this.clock.now();
      if (left <= 0) throw this.#unavailable(method.name, timeoutMs);
      if (method !== (Auth.method.authenticate as unknown))
        await this.authorize({ ...options, timeoutMs: left });
      const peer = this.#pool.current;
      try {
        const answer = await this.#attempt(peer, method, request, {
          ...options,
          timeoutMs: limit - this.clock.now(),
          noteSent,
        });
        this.#pool.succeeded(peer);
        return answer;
      } catch (error) {
        if (!isStatus(error)) throw error;
        const { remedy, mayHaveApplied } = classify(error);
        if (remedy === "fatal" || remedy === "lease-gone" || (mayHaveApplied && !idempotent)) {
          throw etcdError(error, method.name, peer.endpoint.name);
        }
        if (remedy === "authenticate") {
          if (this.#user === undefined) throw etcdError(error, method.name, peer.endpoint.name);
          this.#token = undefined;
          // A fresh token is worth one try at once; a cluster that refuses fresh tokens is not worth a loop.
          if (tokens++ === 0) continue;
        }
        if (remedy === "next-endpoint") this.#pool.failed(peer, error);
        else peer.lastFailure = error;
        this.logger.debug(
          { endpoint: peer.endpoint.name, method: method.name, status: error },
          "etcd attempt failed",
        );
      }
      // Every endpoint gets its turn before the first pause.
      const round = Math.floor(failures / this.#pool.peers.length);
      if (round === 0) continue;
      await sleep(
        this.clock,
        Math.min(backoffMs(this.clock, round), Math.max(limit - this.clock.now(), 0)),
        signal,
      );
    }
  }

  /** One request to one endpoint, within the time for one attempt. Rejects with an `RpcStatus`. */
  async #attempt<I extends DescMessage, O extends DescMessage>(
    peer: Peer,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions & { readonly noteSent?: (sentAt: number) => void },
  ): Promise<Answer<MessageShape<O>>> {
    const { attemptTimeoutMs = this.attemptTimeoutMs, timeoutMs = defaultTimeoutMs, signal } = options;
    const patience = peer.transport.connected ? attemptTimeoutMs : 2 * attemptTimeoutMs;
    const known = this.#store;
    const sentAt = this.clock.now();
    options.noteSent?.(sentAt);
    const call: Call<MessageShape<O>> = peer.transport.unary(method, request, this.#metadata());
    const response = await this.#limited(call, peer, { patience, timeoutMs, signal });
    if (isLinearizable(method, request))
      this.#checkHistory(known, (response as { header?: ResponseHeader }).header);
    return { response, sentAt };
  }

  #limited<T>(
    call: Call<T>,
    peer: Peer,
    limits: {
      readonly patience: number;
      readonly timeoutMs: number;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<T> {
    const { patience, timeoutMs, signal } = limits;
    const waitMs = Math.min(patience, timeoutMs);
    return new Promise((resolve, reject) => {
      const give = (reason: unknown): void => {
        settle();
        reject(reason);
        call.cancel();
      };
      const forget = onAbort(signal, () => give(signal?.reason));
      const forgetClosed = onAbort(this.#closed.signal, () => give(this.#closed.signal.reason));
      const cancel = this.clock.at(this.clock.now() + waitMs, () => {
        const status = silence(waitMs);
        // An attempt that the caller's own limit cut short says nothing about the endpoint.
        if (waitMs === patience) this.#pool.timedOut(peer, status);
        give(status);
      });
      const settle = (): void => {
        cancel();
        forget();
        forgetClosed();
      };
      call.response.then(
        (value) => {
          settle();
          resolve(value);
        },
        (status) => {
          settle();
          reject(status);
        },
      );
    });
  }

  #metadata(): Metadata {
    return this.#token === undefined || this.#token === ""
      ? requireLeader
      : { ...requireLeader, token: this.#token };
  }

  #authenticate(options: CallOptions): Promise<void> {
    const user = this.#user;
    if (user === undefined) return Promise.resolve();
    this.#authenticating ??= (async () => {
      try {
        const answer = await this.#call(Auth.method.authenticate, user, { ...options, idempotent: true });
        this.#token = answer.response.token;
      } catch (error) {
        // A cluster that does not ask for credentials is content with any.
        const notAsked =
          error instanceof EtcdError && error.message.includes("authentication is not enabled");
        if (!notAsked) throw error;
        this.#token = "";
      } finally {
        this.#authenticating = undefined;
      }
    })();
    return this.#authenticating;
  }

  /** Compares a linearizable answer with what was known when its request was sent. */
  #checkHistory(
    known: { history: number; clusterId: bigint; revision: bigint },
    header: ResponseHeader | undefined,
  ): void {
    if (header === undefined || known.history !== this.#store.history) return;
    const { clusterId, revision } = header;
    const otherCluster = known.clusterId !== 0n && clusterId !== known.clusterId;
    if (otherCluster || revision < known.revision) {
      this.#store = { history: known.history + 1, clusterId, revision };
      const what: StoreRestored = { knownRevision: known.revision, revision, otherCluster };
      this.logger.error(
        { ...what, clusterId },
        "etcd's store went back or is another one: restored from a backup?",
      );
      for (const listener of [...this.#onRestored]) listener(what);
    } else if (revision > this.#store.revision || this.#store.clusterId === 0n) {
      this.#store = { history: known.history, clusterId, revision };
    }
  }

  #newLeaseId(): bigint {
    // 63 bits, never 0: etcd's own ids are of this form.
    const high = BigInt(Math.floor(this.clock.random() * 0x7fff_ffff));
    const low = BigInt(Math.floor(this.clock.random() * 0x1_0000_0000));
    return (high << 32n) | low | 1n;
  }

  #unavailable(what: string, timeoutMs: number): EtcdError {
    const each = this.#pool.peers.map(
      (peer) => `${peer.endpoint.name}: ${peer.lastFailure?.message ?? "no answer yet"}`,
    );
    return new EtcdError(
      "ETCD_UNAVAILABLE",
      `${what}: no usable answer from etcd within ${Math.round(timeoutMs)} ms (${each.join("; ")})`,
      grpc.unavailable,
      true,
    );
  }
}

/** @internal A stream, and a way to say how its endpoint behaves. */
export interface OpenStream<I> extends Stream<I> {
  readonly endpoint: string;
  /** 2 where a connection must be opened first: its first answer may take so many times longer. */
  readonly openTimeoutFactor: 1 | 2;
  succeeded(): void;
  failed(status: RpcStatus): void;
  stalled(): void;
  /** `move` is called when this endpoint has fallen silent while another one answers. */
  onMove(move: () => void): () => void;
}

function rangeEnd(key: Bytes, options: { prefix?: boolean; rangeEnd?: Bytes }): { rangeEnd?: Uint8Array } {
  if (options.rangeEnd !== undefined) return { rangeEnd: toBytes(options.rangeEnd) };
  return options.prefix === true ? { rangeEnd: prefixEnd(key) } : {};
}

function isStatus(error: unknown): error is RpcStatus {
  return typeof error === "object" && error !== null && "code" in error && typeof error.code === "number";
}

const silence = (ms: number): RpcStatus => ({
  code: grpc.deadlineExceeded,
  message: `no answer within ${Math.round(ms)} ms`,
});

/** Whether an answer is of the newest state: all of KV's but reads that ask for less. */
function isLinearizable(method: DescMethodUnary, request: object): boolean {
  if (method.parent !== KV || method.name === KV.method.compact.name) return false;
  return !("serializable" in request && request.serializable === true);
}
