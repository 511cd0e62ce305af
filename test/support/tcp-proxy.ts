import { once } from "node:events";
import { createServer, type Server } from "node:net";
import { DeafListener } from "./deaf-listener.ts";
import { freePorts } from "./free-ports.ts";
import { type Direction, type Faults, Relay } from "./relay.ts";

export interface TcpProxyOptions {
  /** Where connections lead, as `host:port`. */
  readonly target: string;
  /**
   * How long a new connection passes nothing, as over a link on which the handshakes of
   * TCP and TLS need further round trips. @defaultValue 0
   */
  readonly connectDelayMs?: number | undefined;
}

export interface Delays {
  readonly toServerMs?: number | undefined;
  readonly toClientMs?: number | undefined;
  /** Replaces `connectDelayMs` for the connections to come. */
  readonly connectMs?: number | undefined;
}

/**
 * A TCP proxy on a loopback port whose link can be spoilt and healed at run time. What
 * is withheld in a silent direction is delivered after `heal`, as TCP would retransmit
 * it; call `resetAll` before `heal` where the connections should not survive.
 */
export class TcpProxy {
  readonly #host: string;
  readonly #targetPort: number;
  readonly #port: number;
  readonly #connectDelayMs: number;
  readonly #relays: Set<Relay> = new Set();
  readonly #faults: Faults;
  #listener: Server | DeafListener | undefined;
  #accepted = 0;
  #closed = false;

  static async start(options: TcpProxyOptions): Promise<TcpProxy> {
    for (let tries = 5; ; tries--) {
      const proxy = new TcpProxy(options, (await freePorts(1))[0] as number);
      try {
        await proxy.#listen();
        return proxy;
      } catch (error) {
        if (tries === 1) throw error;
      }
    }
  }

  private constructor({ target, connectDelayMs = 0 }: TcpProxyOptions, port: number) {
    const colon = target.lastIndexOf(":");
    this.#host = target.slice(0, colon).replace(/^\[|\]$/g, "");
    this.#targetPort = Number(target.slice(colon + 1));
    this.#port = port;
    this.#connectDelayMs = connectDelayMs;
    this.#faults = { toServerMs: 0, toClientMs: 0, connectMs: connectDelayMs, silent: new Set() };
  }

  /** Where clients connect, as `host:port`; the same over all faults. */
  get endpoint(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** The connections that this proxy holds now. */
  get openConnections(): number {
    return this.#relays.size;
  }

  /** All connections accepted so far. */
  get acceptedConnections(): number {
    return this.#accepted;
  }

  /** Delays what arrives from now on, order kept; a number is meant for each way. */
  delay(delays: number | Delays): void {
    const both = typeof delays === "number" ? { toServerMs: delays, toClientMs: delays } : delays;
    this.#faults.toServerMs = both.toServerMs ?? this.#faults.toServerMs;
    this.#faults.toClientMs = both.toClientMs ?? this.#faults.toClientMs;
    this.#faults.connectMs = both.connectMs ?? this.#faults.connectMs;
  }

  /**
   * Passes nothing either way and keeps every connection. New ones are accepted and stay
   * silent; with `accept: false` they are not even answered, so `connect` hangs.
   */
  async blackHole({ accept = true }: { readonly accept?: boolean } = {}): Promise<void> {
    this.#silence(["toServer", "toClient"]);
    if (accept) {
      await this.#listen();
      return;
    }
    if (this.#listener instanceof DeafListener) return;
    await this.#stopListening();
    this.#listener = await DeafListener.start(this.#port);
  }

  /** Passes bytes in this direction alone. */
  halfOpen(passing: Direction): void {
    this.#silence([passing === "toServer" ? "toClient" : "toServer"]);
  }

  /** Ends every connection, on both sides, by a TCP reset. New ones are served as before. */
  resetAll(): void {
    for (const relay of this.#relays) relay.reset();
  }

  /** Refuses new connections; those that are open go on. */
  async refuse(): Promise<void> {
    await this.#stopListening();
  }

  /** Takes all faults back: what was withheld is delivered, and new connections are served. */
  async heal(): Promise<void> {
    this.delay({ toServerMs: 0, toClientMs: 0, connectMs: this.#connectDelayMs });
    this.#silence([]);
    await this.#listen();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#stopListening();
    const relays = [...this.#relays];
    for (const relay of relays) relay.reset();
    await Promise.all(relays.map((relay) => relay.closed));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #silence(directions: readonly Direction[]): void {
    this.#faults.silent.clear();
    for (const direction of directions) this.#faults.silent.add(direction);
    for (const relay of this.#relays) relay.faultsChanged();
  }

  async #listen(): Promise<void> {
    if (this.#closed) throw new Error("the proxy is closed");
    if (this.#listener !== undefined && !(this.#listener instanceof DeafListener)) return;
    await this.#stopListening();
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
      this.#accepted++;
      const relay = new Relay(client, { host: this.#host, port: this.#targetPort }, this.#faults);
      this.#relays.add(relay);
      void relay.closed.then(() => this.#relays.delete(relay));
    });
    server.listen({ port: this.#port, host: "127.0.0.1" });
    await once(server, "listening");
    this.#listener = server;
  }

  async #stopListening(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    // The port is free at once; waiting for a server's `close` would wait for its connections.
    if (listener instanceof DeafListener) await listener.close();
    else listener?.close();
  }
}
