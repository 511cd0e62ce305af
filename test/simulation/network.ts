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
import type { Host } from "./host.ts";
import {
  type Lane,
  type Link,
  type Linked,
  type Monitor,
  type Outcome,
  type ServerStream,
  type StreamClient,
  Wire,
} from "./link.ts";

const statusOf = {
  reset: { code: 14, message: "read ECONNRESET" },
  refused: { code: 14, message: "connect ECONNREFUSED" },
  dropped: { code: 14, message: "connection dropped" },
  slow: { code: 14, message: "connect timed out" },
  cancelled: { code: 1, message: "cancelled" },
} as const satisfies Record<string, RpcStatus>;

/** One TCP connection with its HTTP/2 streams. */
class Connection implements Linked {
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
  readonly #monitor: Monitor;
  readonly #cancelTimeout: () => void;

  constructor(transport: SimTransport, link: Link, host: Host, monitor: Monitor, connectTimeoutMs: number) {
    this.#transport = transport;
    this.#monitor = monitor;
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

  /** Sends something to the server, in the order of its lane. */
  post(lane: Lane, arrived: () => void): void {
    const order = this.host.sendings++;
    this.up.send(lane, () => {
      this.#monitor.arrived(this.host, this, order, this.state === "over");
      arrived();
    });
  }

  reset(): void {
    this.fail(statusOf.reset);
  }

  linger(): void {
    if (this.state === "open") this.#break(statusOf.reset);
  }

  /** The connection is no more, and the client's side knows it. */
  fail(status: RpcStatus): void {
    if (this.state === "over") return;
    this.up.closed = true;
    this.#break(status);
  }

  #break(status: RpcStatus): void {
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
          connection.post({ last: 0 }, () => {
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
    monitor.sent(host, method.name, message, metadata, call);
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
        monitor.sent(host, method.name, message, metadata, identity);
        connection.whenOpen(() => {
          if (over) return;
          connection.post(lane, () => {
            if (over && !link.random.chance(link.late)) return;
            open().handle(message);
          });
        });
      },
      cancel: () => {
        if (!finish()) return;
        connection.whenOpen(() =>
          connection.post(lane, () => {
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
    this.#connection ??= new Connection(this, this.#link, this.#host, this.#monitor, this.#connectTimeoutMs);
    return this.#connection;
  }
}
