import { create, toBinary } from "@bufbuild/protobuf";
import {
  type Event,
  EventSchema,
  Event_EventType as EventType,
  WatchCreateRequest_FilterType as Filter,
  type ResponseHeader,
  type WatchCreateRequest,
  type WatchRequest,
  type WatchResponse,
  WatchResponseSchema,
} from "../etcd/gen/etcd_pb.ts";
import { contains, type KeyRange, keyRange } from "./key-range.ts";
import type { Change, Mvcc } from "./mvcc.ts";
import { keyValue } from "./range-query.ts";
import type { StatusError } from "./status-error.ts";

/** Where a stream's answers go. Called in order, in the middle of the operation that caused them. */
export interface WatchSink {
  send(response: WatchResponse): void;
  /** The server ends the stream; nothing follows. */
  end(error: StatusError): void;
}

/** What a stream needs of its surroundings. */
export interface WatchSource {
  readonly store: Mvcc;
  /** From this size on, an answer is split for clients that asked for fragments. */
  readonly maxResponseBytes: number;
  header(revision: bigint): ResponseHeader;
  /** Sees to it that progress notices go out from now on. */
  scheduleProgress(): void;
  forget(stream: WatchStream): void;
}

interface Watcher {
  readonly id: bigint;
  readonly range: KeyRange;
  readonly request: WatchCreateRequest;
  /** Changes below this revision were delivered, or are not wanted. */
  from: bigint;
  /** Nothing was sent since the last progress notice. */
  quiet: boolean;
}

type ResponseFields = Partial<
  Pick<WatchResponse, "watchId" | "created" | "canceled" | "cancelReason" | "compactRevision" | "events">
>;

/** A catch-up answer holds the changes of no more revisions than this, as in etcd. */
const maxRevisionsPerResponse = 1_000;
/** The id of answers that belong to no watch, or to one that could not be created. */
const noWatch = -1n;

/** All the watches of one client stream. */
export class WatchStream {
  readonly #source: WatchSource;
  readonly #sink: WatchSink;
  readonly #watchers = new Map<bigint, Watcher>();
  #nextId = 0n;

  /** @internal Ends when the cluster loses its leader, instead of falling silent. */
  readonly requiresLeader: boolean;

  /** @internal Opened by the hub. */
  constructor(source: WatchSource, sink: WatchSink, requiresLeader: boolean) {
    this.#source = source;
    this.#sink = sink;
    this.requiresLeader = requiresLeader;
  }

  /** Takes one request of the client, as it comes over the wire. */
  handle({ requestUnion }: WatchRequest): void {
    if (requestUnion.case === "createRequest") this.create(requestUnion.value);
    else if (requestUnion.case === "cancelRequest") this.cancel(requestUnion.value.watchId);
    else if (requestUnion.case === "progressRequest") this.requestProgress();
  }

  create(request: WatchCreateRequest): void {
    const current = this.#source.store.revision;
    const range = watchedRange(request);
    const refusal = this.#refusal(request.watchId, range);
    if (refusal !== undefined) {
      this.#send({ watchId: noWatch, created: true, canceled: true, cancelReason: refusal }, current);
      return;
    }
    const id = request.watchId === 0n ? this.#freeId() : request.watchId;
    const from = request.startRevision === 0n ? current + 1n : request.startRevision;
    const watcher: Watcher = { id, range, request, from, quiet: true };
    this.#watchers.set(id, watcher);
    this.#send({ watchId: id, created: true }, current);
    this.#catchUp(watcher);
    if (request.progressNotify) this.#source.scheduleProgress();
  }

  cancel(id: bigint): void {
    if (this.#watchers.delete(id)) this.#send({ watchId: id, canceled: true }, this.#source.store.revision);
  }

  /** etcd 3.5 answers once for the whole stream, and not at all on a stream without watches. */
  requestProgress(): void {
    if (this.#watchers.size > 0) this.#send({ watchId: noWatch }, this.#source.store.revision);
  }

  /** The client has gone. */
  close(): void {
    this.#watchers.clear();
    this.#source.forget(this);
  }

  /** @internal The hub ends the stream. */
  break(error: StatusError): void {
    this.close();
    this.#sink.end(error);
  }

  /** @internal Passes on the changes of one revision. */
  deliver(changes: readonly Change[], revision: bigint): void {
    for (const watcher of [...this.#watchers.values()]) {
      const events = this.#eventsFor(watcher, changes);
      if (watcher.from <= revision) watcher.from = revision + 1n;
      if (events.length > 0) this.#sendEvents(watcher, events, revision);
    }
  }

  /** @internal Says how far the quiet watches are that asked for such notices; whether any asked. */
  notifyProgress(): boolean {
    let asked = false;
    for (const watcher of this.#watchers.values()) {
      if (!watcher.request.progressNotify) continue;
      asked = true;
      if (watcher.quiet) this.#send({ watchId: watcher.id }, this.#source.store.revision);
      watcher.quiet = true;
    }
    return asked;
  }

  #refusal(id: bigint, range: KeyRange): string | undefined {
    if (range.to !== undefined && range.from >= range.to) return "mvcc: watcher range is empty";
    if (id !== 0n && this.#watchers.has(id)) return "mvcc: duplicate watch ID provided on the WatchStream";
    return undefined;
  }

  #freeId(): bigint {
    while (this.#watchers.has(this.#nextId)) this.#nextId += 1n;
    return this.#nextId++;
  }

  /** Delivers what happened before the watch was created, or says that it is no longer stored. */
  #catchUp(watcher: Watcher): void {
    const { revision, compactRevision } = this.#source.store;
    if (watcher.from > revision) return;
    if (watcher.from < compactRevision) {
      this.#watchers.delete(watcher.id);
      // etcd leaves the revision of this header empty.
      this.#send({ watchId: watcher.id, canceled: true, compactRevision }, 0n);
      return;
    }
    const changes = this.#source.store.changesSince(watcher.from);
    const events = this.#eventsFor(watcher, changes);
    watcher.from = revision + 1n;
    for (const batch of batches(events)) this.#sendEvents(watcher, batch, revision);
  }

  #eventsFor({ range, request, from }: Watcher, changes: readonly Change[]): Event[] {
    const unwanted = new Set<number>(
      request.filters.map((filter) => (filter === Filter.NOPUT ? EventType.PUT : EventType.DELETE)),
    );
    return changes
      .filter(
        ({ text, now }) => now.modRevision >= from && contains(range, text) && !unwanted.has(typeOf(now)),
      )
      .map((change) => event(change, request.prevKv && this.#canShowBefore(change)));
  }

  /** etcd reads the former value one revision back, where it may have been compacted. */
  #canShowBefore({ now }: Change): boolean {
    return now.modRevision > this.#source.store.compactRevision;
  }

  #sendEvents(watcher: Watcher, events: Event[], revision: bigint): void {
    watcher.quiet = false;
    const response = this.#response({ watchId: watcher.id, events }, revision);
    const { fragment } = watcher.request;
    const parts = fragment ? fragments(response, this.#source.maxResponseBytes) : [response];
    for (const part of parts) {
      if (!this.#isGone(watcher)) this.#sink.send(part);
    }
  }

  /** A sink may cancel watches, or close the stream, while it is being told. */
  #isGone(watcher: Watcher): boolean {
    return this.#watchers.get(watcher.id) !== watcher;
  }

  #send(fields: ResponseFields, revision: bigint): void {
    this.#sink.send(this.#response(fields, revision));
  }

  #response(fields: ResponseFields, revision: bigint): WatchResponse {
    return create(WatchResponseSchema, { ...fields, header: this.#source.header(revision) });
  }
}

function watchedRange({ key, rangeEnd }: WatchCreateRequest): KeyRange {
  // An empty key is the smallest key, one zero byte.
  return keyRange(key.length === 0 ? new Uint8Array(1) : key, rangeEnd);
}

const typeOf = ({ version }: Change["now"]): EventType => (version > 0n ? EventType.PUT : EventType.DELETE);

function event({ now, before }: Change, wantsBefore: boolean): Event {
  const prevKv = wantsBefore && before !== undefined ? { prevKv: keyValue(before) } : {};
  return create(EventSchema, { type: typeOf(now), kv: keyValue(now), ...prevKv });
}

function* batches(events: readonly Event[]): Generator<Event[]> {
  let batch: Event[] = [];
  let revisions = 0;
  let last: bigint | undefined;
  for (const one of events) {
    const revision = one.kv?.modRevision;
    if (revision !== last) {
      if (++revisions > maxRevisionsPerResponse) {
        yield batch;
        batch = [];
        revisions = 1;
      }
      last = revision;
    }
    batch.push(one);
  }
  if (batch.length > 0) yield batch;
}

/** Splits an answer that is too big into several; all but the last are marked as fragments. */
function* fragments(whole: WatchResponse, maxBytes: number): Generator<WatchResponse> {
  const sizes = whole.events.map((one) => toBinary(EventSchema, one).length + fieldOverheadBytes);
  let first = 0;
  while (first < whole.events.length) {
    let end = first + 1;
    let bytes = sizes[first] as number;
    while (end < whole.events.length && bytes + (sizes[end] as number) < maxBytes) {
      bytes += sizes[end++] as number;
    }
    yield create(WatchResponseSchema, {
      ...whole,
      events: whole.events.slice(first, end),
      fragment: end < whole.events.length,
    });
    first = end;
  }
}

/** The tag and the length of an embedded message of up to 2 MiB. */
const fieldOverheadBytes = 5;
