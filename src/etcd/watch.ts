import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CancelTimer } from "../clock.ts";
import { backoffMs, onAbort } from "../waiting.ts";
import { type Bytes, type KeyRangeOptions, keyRange } from "./bytes.ts";
import type { Etcd, OpenStream } from "./etcd.ts";
import { classify, EtcdError, etcdError, grpc } from "./failure.ts";
import {
  type Event,
  type WatchRequestSchema,
  type WatchResponse,
  Watch as WatchService,
} from "./gen/etcd_pb.ts";
import type { RpcStatus } from "./transport.ts";

/** What to follow. */
export interface WatchRequest extends KeyRangeOptions {
  readonly key: Bytes;
  /**
   * The first revision of interest. After a read at revision r this is r + 1: a watch that starts at r itself is
   * served late. @defaultValue what comes next
   */
  readonly startRevision?: bigint;
  /** Whether each event holds what was there before. @defaultValue false */
  readonly prevKv?: boolean;
}

/** All events of one revision: a transaction's belong together. */
export interface WatchEvents {
  readonly revision: bigint;
  readonly events: readonly Event[];
}

/** Told in order; nothing after `canceled`. */
export interface WatchListener {
  events(events: WatchEvents): void;
  /** The watch is over and cannot be resumed: its next revision is compacted, or it is not permitted. */
  canceled(error: EtcdError): void;
  /** It goes on after a break, on another stream; nothing was missed. */
  resumed?(): void;
}

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
  /** Events of a response whose other fragments are still to come. */
  fragments: Event[] = [];
  /** Whether it has been on a stream before. */
  begun = false;
  /** Cancellations since the last event. */
  refusals = 0;
  /** Whether the last thing that etcd said was that this is not permitted. */
  denied = false;
  cancelTimer: CancelTimer = () => {};

  constructor(id: bigint, request: WatchRequest, listener: WatchListener) {
    this.id = id;
    this.request = request;
    this.listener = listener;
    // 0 is etcd's word for "from now on": where that was, its answer tells.
    this.next = request.startRevision === 0n ? undefined : request.startRevision;
  }
}

type Connection = OpenStream<MessageInitShape<typeof WatchRequestSchema>>;

/**
 * Many watches on one stream. The stream is opened when the first watch is, opened again on another
 * endpoint when it breaks, and every watch then goes on at the revision after its last event.
 */
export class Watcher {
  readonly #etcd: Etcd;
  readonly #followers: Map<bigint, Follower> = new Map();
  /** The ids of watches asked for on this stream and not answered yet: etcd answers in this order. */
  #asked: bigint[] = [];
  #connection: Connection | undefined;
  #leave: () => void = () => {};
  #cancelReopen: CancelTimer | undefined;
  #opening = false;
  #failures = 0;
  #lastId = 0n;
  readonly #forgetClosed: () => void;
  #closed = false;

  constructor(etcd: Etcd) {
    this.#etcd = etcd;
    this.#forgetClosed = onAbort(etcd.closedSignal, () => this.close());
  }

  /** Starts a watch. After `close` nothing is told. */
  open(request: WatchRequest, listener: WatchListener): Watch {
    const follower = new Follower(++this.#lastId, request, listener);
    if (this.#closed) return { close: () => {} };
    this.#followers.set(follower.id, follower);
    if (this.#connection !== undefined) this.#create(this.#connection, follower);
    else if (this.#cancelReopen === undefined) this.#connect();
    return { close: () => this.#drop(follower) };
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
    this.#forgetClosed();
    this.#cancelReopen?.();
    for (const follower of this.#followers.values()) follower.cancelTimer();
    this.#followers.clear();
    this.#disconnect();
  }

  #drop(follower: Follower): void {
    follower.cancelTimer();
    if (!this.#followers.delete(follower.id)) return;
    if (this.#followers.size === 0) {
      this.#cancelReopen?.();
      this.#cancelReopen = undefined;
      this.#disconnect();
    } else {
      // Also before etcd has answered: it takes the requests in their order.
      this.#connection?.send({ requestUnion: { case: "cancelRequest", value: { watchId: follower.id } } });
    }
  }

  #disconnect(): void {
    this.#leave();
    this.#connection?.cancel();
    this.#connection = undefined;
    this.#asked = [];
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
        if (error instanceof EtcdError && error.code === "AUTH_FAILED") this.#giveUp(error);
        else {
          this.#etcd.logger.warn({ error }, "cannot authenticate for a watch yet");
          this.#reopenLater();
        }
      },
    );
  }

  #openStream(): void {
    const connection: Connection = this.#etcd.openStream(WatchService.method.watch, {
      message: (response) => {
        if (connection === this.#connection) this.#onResponse(connection, response);
      },
      end: (status) => this.#broken(connection, status),
    });
    this.#connection = connection;
    this.#leave = connection.onMove(() =>
      this.#broken(connection, { code: grpc.unavailable, message: "fell silent" }),
    );
    for (const follower of this.#followers.values()) this.#create(connection, follower);
  }

  #create(connection: Connection, follower: Follower): void {
    follower.fragments = [];
    this.#asked.push(follower.id);
    connection.send({
      requestUnion: {
        case: "createRequest",
        value: {
          ...keyRange(follower.request.key, follower.request),
          startRevision: follower.next ?? 0n,
          prevKv: follower.request.prevKv ?? false,
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
    if (classify(status).remedy === "authenticate" && !this.#etcd.hasUser)
      this.#giveUp(etcdError(status, "watch", connection.endpoint));
    else this.#reopenLater();
  }

  /** No watch of this client will do better. */
  #giveUp(error: EtcdError): void {
    const followers = [...this.#followers.values()];
    for (const follower of followers) this.#drop(follower);
    for (const follower of followers) follower.listener.canceled(error);
  }

  #reopenLater(): void {
    const failures = this.#failures++;
    const pause = failures === 0 ? 0 : backoffMs(this.#etcd.clock, failures);
    this.#cancelReopen?.();
    this.#cancelReopen = this.#etcd.clock.at(this.#etcd.clock.now() + pause, () => {
      this.#cancelReopen = undefined;
      if (this.#followers.size > 0) this.#connect();
    });
  }

  #onResponse(connection: Connection, response: WatchResponse): void {
    const id = this.#idOf(response);
    const follower = this.#followers.get(id);
    if (follower === undefined) return;
    if (response.created) {
      follower.cancelTimer();
      if (!response.canceled) {
        this.#failures = 0;
        follower.denied = false;
        connection.succeeded();
        if (follower.next === undefined && response.header !== undefined)
          follower.next = response.header.revision + 1n;
        if (follower.begun) follower.listener.resumed?.();
        follower.begun = true;
      }
    }
    if (response.canceled) this.#onCanceled(connection, follower, response);
    else this.#onEvents(follower, response);
  }

  /** Which watch a response is for: one that is refused while it is created may come back under the id -1. */
  #idOf(response: WatchResponse): bigint {
    const id = response.watchId < 0n ? (this.#asked[0] ?? -1n) : response.watchId;
    if (response.created || response.canceled) this.#asked = this.#asked.filter((each) => each !== id);
    return id;
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
    const { code, remedy } = classify(status);
    follower.refusals++;
    if (code === "PERMISSION_DENIED" && this.#etcd.hasUser && !follower.denied) {
      // etcd 3.4 says so too when it is the token that is old.
      follower.denied = true;
      connection.refused();
      this.#broken(connection, status);
    } else if (remedy === "fatal") {
      this.#drop(follower);
      follower.listener.canceled(etcdError(status, "watch", connection.endpoint));
    } else {
      // No reason to give up: a new stream, on another endpoint if there is one, after a pause if this goes on.
      this.#failures = Math.max(this.#failures, follower.refusals - 1);
      this.#broken(connection, status);
    }
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
