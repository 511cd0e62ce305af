import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type {
  Call,
  Metadata,
  RpcStatus,
  Stream,
  StreamListener,
  Transport,
} from "../../src/etcd/transport.ts";
import type { Agenda } from "./agenda.ts";
import type { Host } from "./host.ts";
import type { Random } from "./random.ts";

/** What sees everything that a process sends and hears. */
export interface Monitor {
  sent(host: Host, method: string, request: unknown, stream: object | undefined): void;
  /** Called before the process is told. */
  heard(host: Host, method: string, answer: unknown, question: object): void;
}

/** The other end of a connection: one member of etcd. */
export interface Server {
  /** Whether its machine takes connections. */
  readonly listening: boolean;
  /** Takes one request, which may have been given up since; `answer` may never be called. */
  unary(request: Incoming, answer: (outcome: Outcome) => void): void;
  /** Takes a stream. */
  stream(request: Omit<Incoming, "message">, client: StreamClient): ServerStream;
}

export interface Incoming {
  readonly link: Link;
  readonly host: Host;
  readonly method: string;
  readonly localName: string;
  readonly message: unknown;
  readonly metadata: Metadata;
}

export type Outcome = { readonly response: unknown } | { readonly status: RpcStatus };

export interface StreamClient {
  /** `lane` keeps the order of what has one. */
  send(message: unknown, lane: Lane): void;
  end(status: RpcStatus): void;
}

export interface ServerStream {
  handle(message: unknown): void;
  close(): void;
}

/** What is sent in one lane arrives in order; a connection has many. */
export interface Lane {
  last: number;
}

/** The way between one process and one member of etcd, with its troubles. */
export class Link {
  readonly server: Server;
  readonly agenda: Agenda;
  readonly random: Random;
  readonly #wires = new Set<Wire>();
  readonly #connections = new Set<Connection>();
  #lost = { up: 0, down: 0 };
  #delays: number[] = [];
  /** Watches stay silent while everything else passes; how many want that. */
  starved = 0;
  /** How likely a request that was given up is carried out all the same. */
  late = 0.5;
  onFed: () => void = () => {};

  constructor(server: Server, agenda: Agenda, random: Random) {
    this.server = server;
    this.agenda = agenda;
    this.random = random;
  }

  latency(): number {
    const quick = 0.2 + this.random.next() * 2;
    return this.#delays.length === 0 ? quick : quick + this.random.next() * Math.max(...this.#delays);
  }

  /** Packets of one direction vanish until the result is called. */
  lose(direction: "up" | "down"): () => void {
    this.#lost[direction]++;
    return () => {
      this.#lost[direction]--;
      this.poke();
    };
  }

  /** Everything takes up to `ms` longer. */
  delay(ms: number): () => void {
    this.#delays.push(ms);
    return () => {
      this.#delays.splice(this.#delays.indexOf(ms), 1);
    };
  }

  blocked(direction: "up" | "down"): boolean {
    return this.#lost[direction] > 0;
  }

  /** Until what was lost is sent again. */
  repeatMs(): number {
    return this.random.chance(0.5) ? this.random.between(0, 200) : this.random.between(0, 3_000);
  }

  /** Looks again whether what was held up can pass. */
  poke(): void {
    for (const wire of this.#wires) wire.poke();
    for (const connection of this.#connections) connection.poke();
  }

  /** Every connection is reset. */
  reset(): void {
    for (const connection of [...this.#connections]) connection.fail(statusOf.reset);
  }

  /** Connections that stand. */
  get connections(): number {
    return this.#connections.size;
  }

  /** @internal */
  enter(connection: Connection): void {
    this.#connections.add(connection);
    this.#wires.add(connection.up);
    this.#wires.add(connection.down);
  }

  /** @internal `up` may still carry what was sent before. */
  leave(connection: Connection): void {
    this.#connections.delete(connection);
    this.#wires.delete(connection.down);
    if (connection.up.closed) this.#wires.delete(connection.up);
  }
}

/** One direction of a connection. What is lost is sent again, so it comes late and in order, or never. */
class Wire {
  closed = false;
  readonly #link: Link;
  readonly #direction: "up" | "down";
  #stuck: (() => void)[] = [];

  constructor(link: Link, direction: "up" | "down") {
    this.#link = link;
    this.#direction = direction;
  }

  send(lane: Lane, arrived: () => void): void {
    if (this.closed) return;
    const { agenda } = this.#link;
    lane.last = Math.max(lane.last, agenda.now + this.#link.latency());
    agenda.at(lane.last, () => this.#arrive(arrived));
  }

  poke(): void {
    if (this.#stuck.length === 0 || this.#link.blocked(this.#direction)) return;
    const { agenda } = this.#link;
    agenda.at(agenda.now + this.#link.repeatMs(), () => {
      if (this.#link.blocked(this.#direction)) return;
      const stuck = this.#stuck;
      this.#stuck = [];
      for (const arrived of stuck) agenda.at(agenda.now, () => this.#arrive(arrived));
    });
  }

  #arrive(arrived: () => void): void {
    if (this.closed) return;
    if (this.#stuck.length > 0 || this.#link.blocked(this.#direction)) this.#stuck.push(arrived);
    else arrived();
  }
}

const statusOf = {
  reset: { code: 14, message: "read ECONNRESET" },
  refused: { code: 14, message: "connect ECONNREFUSED" },
  dropped: { code: 14, message: "connection dropped" },
  slow: { code: 14, message: "connect timed out" },
  cancelled: { code: 1, message: "cancelled" },
} as const satisfies Record<string, RpcStatus>;

/** One TCP connection with its HTTP/2 streams. */
class Connection {
  readonly link: Link;
  readonly host: Host;
  readonly up: Wire;
  readonly down: Wire;
  readonly #transport: SimTransport;
  readonly #waiting: (() => void)[] = [];
  /** What the client has under way. */
  readonly ends: Set<(status: RpcStatus) => void> = new Set();
  /** What the server has under way. */
  readonly serving: Set<ServerStream> = new Set();
  state: "opening" | "open" | "over" = "opening";
  readonly #cancelTimeout: () => void;

  constructor(transport: SimTransport, link: Link, host: Host, connectTimeoutMs: number) {
    this.#transport = transport;
    this.link = link;
    this.host = host;
    this.up = new Wire(link, "up");
    this.down = new Wire(link, "down");
    link.enter(this);
    const { agenda } = link;
    agenda.at(agenda.now + link.latency() + link.latency(), () => this.#arrive());
    this.#cancelTimeout = agenda.at(agenda.now + connectTimeoutMs, () => this.fail(statusOf.slow));
  }

  whenOpen(task: () => void): void {
    if (this.state === "open") task();
    else this.#waiting.push(task);
  }

  poke(): void {
    if (this.state !== "opening") return;
    const { agenda } = this.link;
    agenda.at(agenda.now + this.link.repeatMs(), () => this.#arrive());
  }

  #arrive(): void {
    if (this.state !== "opening" || this.link.blocked("up") || this.link.blocked("down")) return;
    if (!this.link.server.listening) {
      this.fail(statusOf.refused);
      return;
    }
    this.#cancelTimeout();
    this.state = "open";
    for (const task of this.#waiting.splice(0)) task();
  }

  /** The connection is no more, and the client's side knows it. */
  fail(status: RpcStatus): void {
    if (this.state === "over") return;
    this.up.closed = true;
    this.#end();
    for (const end of [...this.ends]) this.#tell(() => end(status));
  }

  /** The client drops the connection. What it had sent may still arrive. */
  drop(): void {
    if (this.state === "over") return;
    const { random } = this.link;
    if (!random.chance(this.link.late)) this.up.closed = true;
    this.#end();
    for (const end of [...this.ends]) this.#tell(() => end(statusOf.dropped));
  }

  #tell(task: () => void): void {
    const { agenda } = this.link;
    agenda.at(agenda.now, () => this.host.deliver(this, task));
  }

  #end(): void {
    this.state = "over";
    this.#cancelTimeout();
    this.down.closed = true;
    this.#transport.forget(this);
    this.link.leave(this);
    for (const stream of this.serving) stream.close();
    this.serving.clear();
  }
}

/** What one client has for one endpoint. */
export class SimTransport implements Transport {
  readonly #link: Link;
  readonly #host: Host;
  readonly #monitor: Monitor;
  readonly #connectTimeoutMs: number;
  #connection: Connection | undefined;
  #closed = false;
  /** Streams that stand, as the client sees it. */
  streams = 0;

  constructor(link: Link, host: Host, monitor: Monitor, connectTimeoutMs: number) {
    this.#link = link;
    this.#host = host;
    this.#monitor = monitor;
    this.#connectTimeoutMs = connectTimeoutMs;
  }

  get connected(): boolean {
    return this.#connection?.state === "open";
  }

  /** Requests and streams under way. */
  get pending(): number {
    return this.#connection?.ends.size ?? 0;
  }

  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
    metadata: Metadata,
  ): Call<MessageShape<O>> {
    const message = create(method.input, init);
    const connection = this.#connect();
    const host = this.#host;
    const { link } = connection;
    const monitor = this.#monitor;
    let sent = false;
    let settled = false;
    let reject = (_status: RpcStatus): void => {};
    const end = (status: RpcStatus): void => {
      if (settled) return;
      settled = true;
      connection.ends.delete(end);
      reject(status);
    };
    connection.ends.add(end);
    const call = {
      response: new Promise<MessageShape<O>>((resolve, fail) => {
        reject = fail;
        const incoming = { link, host, method: method.name, localName: method.localName, message, metadata };
        const answer = (outcome: Outcome): void => {
          connection.down.send({ last: 0 }, () =>
            host.deliver(connection, () => {
              if (settled) return;
              settled = true;
              connection.ends.delete(end);
              if ("status" in outcome) fail(outcome.status);
              else {
                monitor.heard(host, method.name, outcome.response, call);
                resolve(outcome.response as MessageShape<O>);
              }
            }),
          );
        };
        connection.whenOpen(() => {
          if (settled || this.#closed) return;
          sent = true;
          connection.up.send({ last: 0 }, () => {
            // A request that was given up is carried out or not, as it happens.
            if (settled && !link.random.chance(link.late)) return;
            link.server.unary(incoming, answer);
          });
        });
      }),
      get unsent(): boolean {
        return !sent;
      },
      cancel: () => end(statusOf.cancelled),
    };
    call.response.catch(() => {});
    monitor.sent(host, method.name, message, call);
    return call;
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    metadata: Metadata,
    listener: StreamListener<MessageShape<O>>,
  ): Stream<MessageInitShape<I>> {
    const connection = this.#connect();
    const host = this.#host;
    const { link } = connection;
    const monitor = this.#monitor;
    const lane: Lane = { last: 0 };
    const identity = {};
    let over = false;
    let serving: ServerStream | undefined;
    const finish = (): boolean => {
      if (over) return false;
      over = true;
      this.streams--;
      connection.ends.delete(end);
      return true;
    };
    const end = (status: RpcStatus): void => {
      if (finish()) listener.end(status);
    };
    this.streams++;
    connection.ends.add(end);
    const client: StreamClient = {
      send: (message, messageLane) =>
        connection.down.send(messageLane, () =>
          host.deliver(connection, () => {
            if (over) return;
            monitor.heard(host, method.name, message, identity);
            listener.message(message as MessageShape<O>);
          }),
        ),
      end: (status) => connection.down.send({ last: 0 }, () => host.deliver(connection, () => end(status))),
    };
    const open = (): ServerStream => {
      if (serving === undefined) {
        serving = link.server.stream(
          { link, host, method: method.name, localName: method.localName, metadata },
          client,
        );
        if (connection.state === "over") serving.close();
        else connection.serving.add(serving);
      }
      return serving;
    };
    return {
      send: (init) => {
        if (over) return;
        const message = create(method.input, init);
        monitor.sent(host, method.name, message, identity);
        connection.whenOpen(() => {
          if (over) return;
          connection.up.send(lane, () => {
            if (over && !link.random.chance(link.late)) return;
            open().handle(message);
          });
        });
      },
      cancel: () => {
        if (!finish()) return;
        connection.whenOpen(() =>
          connection.up.send(lane, () => {
            if (serving === undefined) return;
            connection.serving.delete(serving);
            serving.close();
          }),
        );
      },
    };
  }

  reconnect(): void {
    this.#connection?.drop();
  }

  close(): void {
    this.#closed = true;
    this.#connection?.drop();
  }

  /** @internal */
  forget(connection: Connection): void {
    if (this.#connection === connection) this.#connection = undefined;
  }

  #connect(): Connection {
    this.#connection ??= new Connection(this, this.#link, this.#host, this.#connectTimeoutMs);
    return this.#connection;
  }
}
