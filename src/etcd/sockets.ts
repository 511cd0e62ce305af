import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";
import { ChannelCredentials } from "@grpc/grpc-js";
import type { CancelTimer, Clock } from "../clock.ts";

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;
type ConnectorArguments = Parameters<ChannelCredentials["_createSecureConnector"]>;

/**
 * The sockets of one channel. grpc-js has no limit for opening a connection, and a
 * channel that is closed while a peer is silent leaves its socket behind; this keeps
 * hold of each socket from its creation on, so that both have an end.
 */
export class Sockets {
  readonly #clock: Clock;
  readonly #connectTimeoutMs: number;
  readonly #open: Set<Socket> = new Set();
  #closed = false;

  constructor(clock: Clock, connectTimeoutMs: number) {
    this.#clock = clock;
    this.#connectTimeoutMs = connectTimeoutMs;
  }

  /** Credentials that show every socket that is opened with them. */
  credentials(secure: Secure | undefined): ChannelCredentials {
    return new TrackedCredentials(this, secure);
  }

  /** Ends every socket at once. */
  destroy(): void {
    for (const socket of this.#open) socket.destroy();
  }

  /** Ends every socket, and every one that an attempt under way may still open. */
  close(): void {
    this.#closed = true;
    this.destroy();
  }

  /** @internal */
  add(socket: Socket): void {
    if (this.#open.has(socket)) return;
    this.#open.add(socket);
    if (this.#closed) socket.destroy();
    // A peer that accepts and then says nothing has sent no byte: an HTTP/2 server's first frame is due at once.
    const silent = (): void => {
      if (socket.bytesRead === 0)
        socket.destroy(new Error(`no connection within ${this.#connectTimeoutMs} ms`));
    };
    const cancel: CancelTimer = this.#clock.at(this.#clock.now() + this.#connectTimeoutMs, silent);
    socket.once("close", () => {
      cancel();
      this.#open.delete(socket);
    });
    // Without a listener of its own, an error between two of grpc-js's listeners would end the process.
    socket.on("error", () => {});
  }
}

/** Opens TLS over a TCP connection; a plain one is used as it is. */
export type Secure = (socket: Socket) => Promise<Socket>;

class TrackedCredentials extends ChannelCredentials {
  readonly #sockets: Sockets;
  readonly #secure: Secure | undefined;

  constructor(sockets: Sockets, secure: Secure | undefined) {
    super();
    this.#sockets = sockets;
    this.#secure = secure;
  }

  override _isSecure(): boolean {
    return this.#secure !== undefined;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...args: ConnectorArguments): SecureConnector {
    const plain = ChannelCredentials.createInsecure()._createSecureConnector(...args);
    return {
      // grpc-js opens the TCP connection a few microtasks after this promise.
      waitForReady: async () => expectSocket(this.#sockets),
      connect: async (socket) => {
        this.#sockets.add(socket);
        if (this.#secure === undefined) return { socket, secure: false };
        return { socket: await this.#secure(socket), secure: true };
      },
      getCallCredentials: () => plain.getCallCredentials(),
      destroy: () => {},
    };
  }
}

/** Channels whose next socket is about to be created, in order. */
const expecting: Sockets[] = [];

/**
 * Catches the next socket that grpc-js creates. This is the only way to hold a socket
 * whose TCP handshake is never answered: grpc-js shows it to nobody until it is open.
 */
function expectSocket(sockets: Sockets): void {
  if (expecting.length === 0) subscribe("net.client.socket", onSocket);
  expecting.push(sockets);
  setImmediate(() => {
    const at = expecting.indexOf(sockets);
    if (at >= 0) expecting.splice(at, 1);
    if (expecting.length === 0) unsubscribe("net.client.socket", onSocket);
  });
}

function onSocket(message: unknown): void {
  // The user's own code may open a connection in the same turn: only grpc-js's are ours.
  if (!new Error().stack?.includes("tcpConnect")) return;
  expecting.shift()?.add((message as { socket: Socket }).socket);
}
