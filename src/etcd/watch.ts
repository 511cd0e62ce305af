import type { MessageInitShape } from "@bufbuild/protobuf";
import { backoffMs, onAbort } from "../waiting.ts";
import { type Bytes, prefixEnd, toBytes } from "./bytes.ts";
import type { Etcd, OpenStream } from "./etcd.ts";
import { classify, type EtcdError, etcdError, grpc } from "./failure.ts";
import {
  type Event,
  type WatchRequestSchema,
  type WatchResponse,
  Watch as WatchService,
} from "./gen/etcd_pb.ts";
import type { RpcStatus } from "./transport.ts";

/** What to follow. */
export interface WatchRequest {
  readonly key: Bytes;
  /** All keys that begin with the key. */
  readonly prefix?: boolean;
  readonly rangeEnd?: Bytes;
  /**
   * The first revision of interest. After a read at revision r this is r + 1: a watch that starts at r itself is
   * served late. @defaultValue what comes next
   */
  readonly startRevision?: bigint;
  readonly prevKv?: boolean;
}

/** All events of one revision: a transaction's belong together. */
export interface WatchEvents {
  readonly revision: bigint;
  readonly events: readonly Event[];
}

/** @internal Told in order; nothing after `canceled`. */
export interface WatchListener {
  events(events: WatchEvents): void;
  /** The watch is over and cannot be resumed: its next revision is compacted, or it is not permitted. */
  canceled(error: EtcdError): void;
}

/** @internal */
export interface Watch {
  close(): void;
}

/** One watch, across all the streams that it has been on. */
class Follower {
  readonly id: bigint;
  readonly request: WatchRequest;
  readonly listener: WatchListener;
  /** Where to go on after a break: one past the last event handed on, never what a progress answer says. */
  next: bigint | undefined;
  created = false;
  /** Events of a response whose other fragments are still to come. */
  fragments: Event[] = [];
  refusals = 0;
  cancelTimer: () => void = () => {};

  constructor(id: bigint, request: WatchRequest, listener: WatchListener) {
    this.id = id;
    this.request = request;
    this.listener = listener;
    this.next = request.startRevision;
  }
}

type Connection = OpenStream<MessageInitShape<typeof WatchRequestSchema>>;

/**
 * @internal Many watches on one stream. The stream is opened when the first watch is, opened again on another
 * endpoint when it breaks, and every watch then goes on at the revision after its last event.
 */
export class Watcher {
  readonly #etcd: Etcd;
  readonly #followers: Map<bigint, Follower> = new Map();
  #connection: Connection | undefined;
  #leave: () => void = () => {};
  #cancelReopen: (() => void) | undefined;
  #opening = false;
  #failures = 0;
  #lastId = 0n;
  #closed = false;

  constructor(etcd: Etcd) {
    this.#etcd = etcd;
  }

  open(request: WatchRequest, listener: WatchListener): Watch {
    const follower = new Follower(++this.#lastId, request, listener);
    this.#followers.set(follower.id, follower);
    if (this.#connection !== undefined) this.#create(this.#connection, follower);
    else if (this.#cancelReopen === undefined) this.#connect();
    return { close: () => this.#drop(follower, true) };
  }

  /** Goes on over a new stream, on another endpoint if there is one: for a stream that is suspected to be deaf. */
  restart(): void {
    const connection = this.#connection;
    if (connection !== undefined)
      this.#broken(connection, { code: grpc.unavailable, message: "the watch is deaf" });
  }

  /** Drops every watch; nothing more is told. */
  close(): void {
    this.#closed = true;
    for (const follower of [...this.#followers.values()]) this.#drop(follower, false);
    this.#cancelReopen?.();
  }

  #drop(follower: Follower, tellServer: boolean): void {
    follower.cancelTimer();
    if (!this.#followers.delete(follower.id)) return;
    if (this.#followers.size === 0) this.#disconnect();
    else if (tellServer && follower.created) {
      this.#connection?.send({ requestUnion: { case: "cancelRequest", value: { watchId: follower.id } } });
    }
  }

  #disconnect(): void {
    this.#leave();
    this.#connection?.cancel();
    this.#connection = undefined;
  }

  #connect(): void {
    if (this.#opening || this.#closed) return;
    this.#opening = true;
    this.#etcd.authorize().then(
      () => {
        this.#opening = false;
        if (!this.#closed && this.#followers.size > 0) this.#openStream();
      },
      (error: unknown) => {
        this.#opening = false;
        if (this.#closed || this.#followers.size === 0) return;
        this.#etcd.logger.warn({ error }, "cannot authenticate for a watch");
        this.#reopenLater();
      },
    );
  }

  #openStream(): void {
    const connection: Connection = this.#etcd.openStream(WatchService.method.watch, {
      message: (response) => {
        if (connection === this.#connection) this.#onResponse(connection, response);
      },
      end: (status) => {
        if (connection === this.#connection) this.#broken(connection, status);
      },
    });
    this.#connection = connection;
    this.#leave = connection.onMove(() =>
      this.#broken(connection, { code: grpc.unavailable, message: "fell silent" }),
    );
    for (const follower of this.#followers.values()) this.#create(connection, follower);
  }

  #create(connection: Connection, follower: Follower): void {
    const { key, prefix = false, rangeEnd, prevKv = false } = follower.request;
    const end = rangeEnd !== undefined ? toBytes(rangeEnd) : prefix ? prefixEnd(key) : undefined;
    follower.created = false;
    follower.fragments = [];
    connection.send({
      requestUnion: {
        case: "createRequest",
        value: {
          key: toBytes(key),
          ...(end === undefined ? {} : { rangeEnd: end }),
          startRevision: follower.next ?? 0n,
          prevKv,
          watchId: follower.id,
          fragment: true,
        },
      },
    });
    const patience = this.#etcd.attemptTimeoutMs * connection.openTimeoutFactor;
    follower.cancelTimer();
    follower.cancelTimer = this.#etcd.clock.at(this.#etcd.clock.now() + patience, () => {
      if (connection !== this.#connection) return;
      connection.stalled();
      this.#broken(connection, { code: grpc.deadlineExceeded, message: "no answer to a new watch" });
    });
  }

  /** The stream is of no more use: on to another endpoint, after a pause unless this is the first trouble. */
  #broken(connection: Connection, status: RpcStatus): void {
    if (connection !== this.#connection) return;
    this.#disconnect();
    for (const follower of this.#followers.values()) follower.cancelTimer();
    connection.failed(status);
    this.#etcd.logger.debug({ endpoint: connection.endpoint, status }, "watch stream broken");
    const { remedy } = classify(status);
    if (remedy === "authenticate") {
      this.#etcd.authorize({ anew: true }).catch(() => {
        // The next attempt to connect reports it.
      });
    }
    this.#reopenLater();
  }

  #reopenLater(): void {
    const failures = this.#failures++;
    const pause = failures === 0 ? 0 : backoffMs(this.#etcd.clock, failures);
    this.#cancelReopen?.();
    const cancel = this.#etcd.clock.at(this.#etcd.clock.now() + pause, () => {
      this.#cancelReopen = undefined;
      if (this.#followers.size > 0) this.#connect();
    });
    this.#cancelReopen = cancel;
  }

  #onResponse(connection: Connection, response: WatchResponse): void {
    // A watch that is refused while it is created may come back under the id -1.
    const follower =
      this.#followers.get(response.watchId) ?? (response.watchId < 0n ? this.#firstUncreated() : undefined);
    if (follower === undefined) return;
    if (response.created) {
      follower.created = true;
      follower.cancelTimer();
      if (!response.canceled) {
        this.#failures = 0;
        connection.succeeded();
        if (follower.next === undefined && response.header !== undefined)
          follower.next = response.header.revision + 1n;
      }
    }
    if (response.canceled) this.#onCanceled(connection, follower, response);
    else this.#onEvents(follower, response);
  }

  #firstUncreated(): Follower | undefined {
    for (const follower of this.#followers.values()) if (!follower.created) return follower;
    return undefined;
  }

  #onEvents(follower: Follower, response: WatchResponse): void {
    follower.fragments.push(...response.events);
    if (response.fragment) return;
    const events = follower.fragments;
    follower.fragments = [];
    if (events.length > 0) follower.refusals = 0;
    for (const batch of byRevision(events)) {
      // A server may repeat what it sent before a break; what was applied is not applied again.
      if (follower.next !== undefined && batch.revision < follower.next) continue;
      if (!this.#followers.has(follower.id)) return;
      follower.next = batch.revision + 1n;
      follower.listener.events(batch);
    }
  }

  #onCanceled(connection: Connection, follower: Follower, response: WatchResponse): void {
    const reason =
      response.compactRevision > 0n ? "required revision has been compacted" : response.cancelReason;
    const status: RpcStatus = {
      code: grpc.unknown,
      message: reason === "" ? "the server canceled the watch" : reason,
    };
    const { code } = classify(status);
    follower.refusals++;
    if (code === "PERMISSION_DENIED" && follower.refusals === 1) {
      // etcd says so too when it is the token that is old.
      this.#etcd.authorize({ anew: true }).then(
        () => this.#broken(connection, status),
        () => this.#broken(connection, status),
      );
      return;
    }
    if (code === "COMPACTED" || code === "PERMISSION_DENIED") {
      this.#drop(follower, false);
      follower.listener.canceled(etcdError(status, "watch", connection.endpoint));
      return;
    }
    // No reason to give up: a new stream, on another endpoint if there is one, after a pause if this goes on.
    this.#failures = Math.max(this.#failures, follower.refusals);
    this.#broken(connection, status);
  }
}

function* byRevision(events: readonly Event[]): Generator<WatchEvents> {
  let batch: Event[] = [];
  let revision = 0n;
  for (const event of events) {
    const at = event.kv?.modRevision ?? revision;
    if (at !== revision && batch.length > 0) {
      yield { revision, events: batch };
      batch = [];
    }
    revision = at;
    batch.push(event);
  }
  if (batch.length > 0) yield { revision, events: batch };
}

/** How many revisions wait for a slow reader before the watch is closed, to be opened again where it stopped. */
const highWater = 1_024;

/** @internal The events of a watch as an iteration: nothing is lost, and a slow reader holds no memory. */
export async function* watchEvents(
  watcher: Watcher,
  request: WatchRequest,
  signals: readonly (AbortSignal | undefined)[],
): AsyncGenerator<WatchEvents, void> {
  let queue: WatchEvents[] = [];
  let failure: unknown;
  let wake = (): void => {};
  let watch: Watch | undefined;
  let next = request.startRevision;
  const open = (): Watch =>
    watcher.open(next === undefined ? request : { ...request, startRevision: next }, {
      events: (batch) => {
        queue.push(batch);
        next = batch.revision + 1n;
        if (queue.length >= highWater) {
          watch?.close();
          watch = undefined;
        }
        wake();
      },
      canceled: (error) => {
        failure = error;
        wake();
      },
    });
  const forgets = signals.map((signal) =>
    onAbort(signal, () => {
      failure ??= signal?.reason;
      queue = [];
      wake();
    }),
  );
  try {
    while (true) {
      watch ??= failure === undefined && queue.length === 0 ? open() : undefined;
      const batch = queue.shift();
      if (batch !== undefined) yield batch;
      else if (failure !== undefined) throw failure;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    for (const forget of forgets) forget();
    watch?.close();
  }
}
