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
  readonly #ready: () => boolean;
  readonly #open: Set<Socket> = new Set();
  /** Sockets that are closed and had brought something. */
  #heardBefore = 0;
  #closed = false;

  /** `ready` tells whether the channel has an HTTP/2 connection: bytes alone may be of a handshake that then stopped. */
  constructor(clock: Clock, connectTimeoutMs: number, ready: () => boolean) {
    this.#clock = clock;
    this.#connectTimeoutMs = connectTimeoutMs;
    this.#ready = ready;
  }

  /** Credentials that show every socket that is opened with them. */
  credentials(secure: Secure | undefined): ChannelCredentials {
    return new TrackedCredentials(this, secure);
  }

  /**
   * A function that tells whether the other side has said nothing since now, on any socket. As long as that is so no
   * request has left: HTTP/2 begins with the server's settings, and grpc-js waits for them. When in doubt it tells no.
   */
  silence(): () => boolean {
    const before = this.#heardBefore;
    const quiet = (): boolean => [...this.#open].every((socket) => socket.bytesRead === 0);
    const quietNow = quiet();
    return () => quietNow && before === this.#heardBefore && quiet();
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
    // Not at once: a socket is shown before its `connect` is called, which would bring it back to life.
    if (this.#closed) process.nextTick(() => socket.destroy());
    // A peer that accepts and then says nothing has sent no byte: an HTTP/2 server's first frame is due at once.
    const stuck = (): void => {
      if (socket.bytesRead > 0 && this.#ready()) return;
      socket.destroy(new Error(`no connection within ${Math.round(this.#connectTimeoutMs)} ms`));
    };
    const cancel: CancelTimer = this.#clock.at(this.#clock.now() + this.#connectTimeoutMs, stuck);
    socket.once("close", () => {
      cancel();
      if (socket.bytesRead > 0) this.#heardBefore++;
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
  // The user's own code may open a connection in the same turn: only grpc-js's are ours. The class is named for bundles.
  if (!/grpc-js|Http2SubchannelConnector/.test(new Error().stack ?? "")) return;
  expecting.shift()?.add((message as { socket: Socket }).socket);
}
