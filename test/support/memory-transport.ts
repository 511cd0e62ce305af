import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { CancelTimer, Clock } from "../../src/clock.ts";
import { StatusError } from "../../src/devserver/status-error.ts";
import { Store } from "../../src/devserver/store.ts";
import type { Endpoint } from "../../src/etcd/endpoint.ts";
import { Etcd, type EtcdOptions } from "../../src/etcd/etcd.ts";
import {
  type LeaseKeepAliveRequest,
  type WatchRequest,
  WatchRequestSchema,
  type WatchResponse,
} from "../../src/etcd/gen/etcd_pb.ts";
import type {
  Call,
  Metadata,
  RpcStatus,
  Stream,
  StreamListener,
  Transport,
} from "../../src/etcd/transport.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

/** A manual clock with chance in it: lease ids differ, jitter varies, and a seed gives the same run again. */
export class SeededClock extends ManualClock {
  constructor(seed: number = 1) {
    super({ seed });
  }
}

/** What was sent: the method's name, such as `Txn` or `LeaseKeepAlive`; each message of a stream counts. */
export interface SentRequest {
  readonly method: string;
  readonly endpoint: string;
  readonly at: number;
}

/** Whether a fault strikes: always, never, or only some methods. */
export type Fault = boolean | ((method: string) => boolean);

/**
 * The way of one client to one endpoint of a store in memory. Nothing is lost in the middle of a stream, as with TCP:
 * what is withheld comes later, in order, unless the stream breaks.
 */
export class Link implements Transport {
  /** What is sent is swallowed; `heal` delivers it. */
  silent: Fault = false;
  /** What is sent is carried out; the answers are swallowed; `heal` delivers them. */
  dropAnswers: Fault = false;
  /** Watches stay silent about events, while everything else passes. */
  holdEvents = false;
  /** Connections are refused; those that stand go on. */
  refuse = false;
  /** How long a message takes each way. */
  delayMs = 0;
  /** Whether requests that were given up while they were withheld are carried out all the same by `heal`. */
  lateRequests = false;

  readonly name: string;
  readonly store: Store;
  readonly clock: Clock;
  /** Streams that are open now, by method. */
  readonly streams: Set<MemoryStream> = new Set();
  readonly #note: (method: string) => void;
  readonly #withheld: Set<() => void> = new Set();
  #connected = false;
  readonly #unanswered: Set<(status: RpcStatus) => void> = new Set();

  constructor(name: string, store: Store, clock: Clock, note: (method: string) => void) {
    this.name = name;
    this.store = store;
    this.clock = clock;
    this.#note = note;
  }

  /** Takes all faults back and delivers what was withheld. */
  heal(): void {
    this.silent = false;
    this.dropAnswers = false;
    this.holdEvents = false;
    this.refuse = false;
    this.release();
  }

  /** Delivers what no fault withholds any more. */
  release(): void {
    for (const deliver of [...this.#withheld]) deliver();
  }

  /** Breaks the connection: every stream ends and every request under way fails. */
  break(status: RpcStatus = { code: 14, message: "read ECONNRESET" }): void {
    this.#connected = false;
    for (const stream of [...this.streams]) stream.end(status);
    for (const fail of [...this.#unanswered]) fail(status);
  }

  /** Whether something came from the other side since the connection last broke. */
  get connected(): boolean {
    return this.#connected;
  }

  reconnect(): void {
    this.break({ code: 14, message: "connection dropped" });
  }

  close(): void {
    this.break({ code: 1, message: "closed" });
  }

  /** @internal Runs `task` after the way through this link, or when the fault is over. */
  pass(fault: () => boolean, task: () => void): void {
    const go = (): void => {
      if (!fault()) {
        task();
        return;
      }
      const retry = (): void => {
        if (fault()) return;
        this.#withheld.delete(retry);
        task();
      };
      this.#withheld.add(retry);
    };
    if (this.delayMs === 0) queueMicrotask(go);
    else this.clock.at(this.clock.now() + this.delayMs, go);
  }

  /** @internal Something came from the other side. */
  heard(): void {
    this.#connected = true;
  }

  /** @internal */
  note(method: string): void {
    this.#note(method);
  }

  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
  ): Call<MessageShape<O>> {
    const { name } = method;
    const request = create(method.input, init);
    let givenUp = false;
    let fail = (_status: RpcStatus): void => {};
    this.#note(name);
    const response = new Promise<MessageShape<O>>((resolve, reject) => {
      fail = (status) => {
        givenUp = true;
        this.#unanswered.delete(fail);
        reject(status);
      };
      this.#unanswered.add(fail);
      if (this.refuse && !this.#connected) {
        queueMicrotask(() => fail(refused(this.name)));
        return;
      }
      this.pass(
        () => strikes(this.silent, name),
        () => {
          if (givenUp && !this.lateRequests) return;
          let settle: () => void;
          try {
            const answer = answerOf(this.store, method, request) as MessageShape<O>;
            settle = () => {
              this.#unanswered.delete(fail);
              resolve(answer);
            };
          } catch (error) {
            const status = statusOf(error);
            settle = () => fail(status);
          }
          this.pass(
            () => strikes(this.dropAnswers, name),
            () => {
              this.#connected = true;
              settle();
            },
          );
        },
      );
    });
    // The client asks for the answer; a call that was cancelled before has nobody to tell.
    response.catch(() => {});
    return { response, cancel: () => fail({ code: 1, message: "cancelled" }) };
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    _metadata: Metadata,
    listener: StreamListener<MessageShape<O>>,
  ): Stream<MessageInitShape<I>> {
    const stream = new MemoryStream(this, method.name, listener as StreamListener<unknown>);
    if (this.refuse && !this.#connected) queueMicrotask(() => stream.end(refused(this.name)));
    return {
      send: (message) => stream.send(create(method.input, message)),
      cancel: () => stream.cancel(),
    };
  }
}

/** One stream; both of its ways keep order whatever is withheld. */
class MemoryStream {
  readonly method: string;
  readonly #link: Link;
  readonly #listener: StreamListener<unknown>;
  readonly #toServer: Way;
  readonly #toClient: Way;
  readonly #serve: (message: unknown) => void;
  readonly #close: () => void;
  #over = false;

  constructor(link: Link, method: string, listener: StreamListener<unknown>) {
    this.method = method;
    this.#link = link;
    this.#listener = listener;
    this.#toServer = new Way(link, () => strikes(link.silent, method));
    this.#toClient = new Way(link, () => strikes(link.silent, method) || strikes(link.dropAnswers, method));
    const server = serverOf(link.store, method, {
      send: (message) => this.#answer(message),
      end: (status) => this.#toClient.send(() => this.end(status)),
    });
    this.#serve = server.handle;
    this.#close = server.close;
    link.streams.add(this);
  }

  send(message: unknown): void {
    if (this.#over) return;
    this.#link.note(this.method);
    this.#toServer.send(() => {
      if (!this.#over) this.#serve(message);
    });
  }

  cancel(): void {
    this.#over = true;
    this.#link.streams.delete(this);
    this.#close();
  }

  end(status: RpcStatus): void {
    if (this.#over) return;
    this.cancel();
    // Never in the turn of whoever broke it: a connection tells its streams one by one.
    queueMicrotask(() => this.#listener.end(status));
  }

  #answer(message: unknown): void {
    const hasEvents = this.method === "Watch" && (message as WatchResponse).events.length > 0;
    this.#toClient.send(
      () => {
        if (this.#over) return;
        this.#link.heard();
        this.#listener.message(message);
      },
      () => hasEvents && this.#link.holdEvents,
    );
  }
}

/** One way of a stream: what comes later waits for what came before. */
class Way {
  readonly #link: Link;
  readonly #fault: () => boolean;
  readonly #queue: { arrived: boolean; readonly held: () => boolean; readonly task: () => void }[] = [];

  constructor(link: Link, fault: () => boolean) {
    this.#link = link;
    this.#fault = fault;
  }

  send(task: () => void, held: () => boolean = () => false): void {
    const item = { arrived: false, held, task };
    this.#queue.push(item);
    this.#link.pass(
      () => this.#fault() || this.#blocked(item),
      () => {
        item.arrived = true;
        while (this.#queue[0]?.arrived === true) this.#queue.shift()?.task();
      },
    );
  }

  /** Whether this item, or one before it, is withheld. */
  #blocked(item: { readonly held: () => boolean }): boolean {
    for (const each of this.#queue) {
      if (each.held()) return true;
      if (each === item) return false;
    }
    return false;
  }
}

/**
 * The network between one client and a store in memory: a `Connect` whose links can be spoilt one by one. Everything
 * happens in microtasks, or by the clock where a delay is set, so a test under a manual clock is the same each time.
 */
export class MemoryNetwork {
  readonly store: Store;
  readonly clock: Clock;
  readonly links: readonly Link[];
  readonly sent: SentRequest[] = [];

  constructor(store: Store, clock: Clock, endpoints: number = 1) {
    this.store = store;
    this.clock = clock;
    this.links = Array.from({ length: endpoints }, (_, at) => {
      const name = `etcd-${at + 1}:2379`;
      return new Link(name, store, clock, (method) =>
        this.sent.push({ method, endpoint: name, at: clock.now() }),
      );
    });
  }

  get endpoints(): string[] {
    return this.links.map((link) => link.name);
  }

  readonly connect = (endpoint: Endpoint): Transport => {
    const link = this.links.find((each) => each.name === endpoint.name);
    if (link === undefined) throw new RangeError(`no link to ${endpoint.name}`);
    return link;
  };

  /** A client over this network. */
  client(options: Partial<EtcdOptions> = {}): Etcd {
    return new Etcd({ endpoints: this.endpoints, clock: this.clock, connect: this.connect, ...options });
  }

  /** How many requests were sent since `from`, of one method or of all. */
  count(method?: string, from: number = 0): number {
    return this.sent.slice(from).filter((each) => method === undefined || each.method === method).length;
  }

  /** Streams that stand, of one method or of all. */
  openStreams(method?: string): number {
    return this.links
      .flatMap((link) => [...link.streams])
      .filter((each) => method === undefined || each.method === method).length;
  }

  set silent(fault: Fault) {
    for (const link of this.links) link.silent = fault;
  }

  set dropAnswers(fault: Fault) {
    for (const link of this.links) link.dropAnswers = fault;
  }

  set holdEvents(held: boolean) {
    for (const link of this.links) link.holdEvents = held;
  }

  set delayMs(ms: number) {
    for (const link of this.links) link.delayMs = ms;
  }

  set lateRequests(late: boolean) {
    for (const link of this.links) link.lateRequests = late;
  }

  set refuse(refuse: boolean) {
    for (const link of this.links) link.refuse = refuse;
  }

  heal(): void {
    for (const link of this.links) link.heal();
  }

  break(status?: RpcStatus): void {
    for (const link of this.links) link.break(status);
  }
}

/** A store and its clock, and networks to it: one for each client that shall have its own troubles. */
export class MemoryEtcd {
  readonly clock: SeededClock;
  readonly store: Store;
  #storeTimers = 0;

  constructor(seed: number = 1) {
    const clock = new SeededClock(seed);
    this.clock = clock;
    this.store = new Store({
      clock: {
        now: () => clock.now(),
        at: (instant, task) => this.#storeTimer(instant, task),
        date: () => clock.date(),
        random: () => clock.random(),
      },
    });
  }

  network(endpoints: number = 1): MemoryNetwork {
    return new MemoryNetwork(this.store, this.clock, endpoints);
  }

  /** How many timers wait that are not the store's. A test that ends with some has found a leak. */
  get pending(): number {
    return this.clock.pending - this.#storeTimers;
  }

  #storeTimer(instant: number, task: () => void): CancelTimer {
    this.#storeTimers++;
    let over = false;
    const end = (): void => {
      if (!over) this.#storeTimers--;
      over = true;
    };
    const cancel = this.clock.at(instant, () => {
      end();
      task();
    });
    return () => {
      end();
      cancel();
    };
  }
}

function strikes(fault: Fault, method: string): boolean {
  return typeof fault === "boolean" ? fault : fault(method);
}

const refused = (name: string): RpcStatus => ({ code: 14, message: `connect ECONNREFUSED ${name}` });

function statusOf(error: unknown): RpcStatus {
  if (error instanceof StatusError) return { code: error.code, message: error.message };
  throw error;
}

/** Calls the store's method of the same name: `etcdserverpb.KV.Txn` is `txn`, `LeaseGrant` is `leaseGrant`. */
function answerOf(store: Store, method: DescMethod, request: unknown): unknown {
  const name = method.localName as keyof Store;
  const answer = store[name] as ((request: unknown) => unknown) | undefined;
  if (typeof answer !== "function") throw new StatusError(2, `the memory store has no ${method.name}`);
  return answer.call(store, request);
}

interface Server {
  handle(message: unknown): void;
  close(): void;
}

function serverOf(
  store: Store,
  method: string,
  client: { send(message: unknown): void; end(status: RpcStatus): void },
): Server {
  if (method === "Watch") {
    let stream: ReturnType<Store["watch"]> | undefined;
    return {
      handle: (message) => {
        try {
          stream ??= store.watch({ send: client.send, end: (error) => client.end(statusOf(error)) });
          stream.handle(create(WatchRequestSchema, message as WatchRequest));
        } catch (error) {
          client.end(statusOf(error));
        }
      },
      close: () => stream?.close(),
    };
  }
  if (method === "LeaseKeepAlive") {
    return {
      handle: (message) => {
        try {
          client.send(store.leaseKeepAlive(message as LeaseKeepAliveRequest));
        } catch (error) {
          client.end(statusOf(error));
        }
      },
      close: () => {},
    };
  }
  throw new RangeError(`the memory store has no stream ${method}`);
}
