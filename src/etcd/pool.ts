import type { Clock } from "../clock.ts";
import { closedError } from "../errors.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Connect, RpcStatus, Transport } from "./transport.ts";

/** A member of etcd as this client sees it: where it is, the way to it, and how it has behaved. */
export class Peer {
  readonly endpoint: Endpoint;
  readonly #connect: Connect;
  #transport: Transport | undefined;
  #closed = false;
  /** What it said last, if that was no answer. */
  lastFailure: RpcStatus | undefined;
  /** Time limits that passed one after the other without an answer, since the last one; and when the last one passed. */
  timeouts = 0;
  timedOutAt: number = Number.NEGATIVE_INFINITY;
  /** Connections dropped on suspicion since the last answer, and when the next may be. */
  reconnects = 0;
  nextReconnectAt = 0;

  constructor(endpoint: Endpoint, connect: Connect) {
    this.endpoint = endpoint;
    this.#connect = connect;
  }

  get transport(): Transport {
    if (this.#closed) throw closedError("the etcd client");
    this.#transport ??= this.#connect(this.endpoint);
    return this.#transport;
  }

  /** Drops a connection that stands; one that is being opened has its own time limit. */
  reconnect(): void {
    if (this.#transport?.connected === true) this.#transport.reconnect();
  }

  close(): void {
    this.#closed = true;
    this.#transport?.close();
  }
}

/** A stream that can be moved to another endpoint without losing anything. */
interface Tenant {
  readonly peer: Peer;
  readonly move: () => void;
}

const firstReconnectPauseMs = 1_000;
const longestReconnectPauseMs = 60_000;

/**
 * The endpoints, and the choice between them: everything goes to one until it fails, then to the next. Our own
 * choice, not grpc-js's, because a target with many addresses never leaves an endpoint that is stopped.
 */
export class Pool {
  readonly peers: readonly Peer[];
  readonly #clock: Clock;
  readonly #tenants: Set<Tenant> = new Set();
  #at: number;

  constructor(endpoints: readonly Endpoint[], connect: Connect, clock: Clock) {
    this.peers = endpoints.map((endpoint) => new Peer(endpoint, connect));
    this.#clock = clock;
    // Clients with the same list spread over the cluster.
    this.#at = Math.floor(clock.random() * this.peers.length);
  }

  /** The endpoint to use now. */
  get current(): Peer {
    const peer = this.peers[this.#at];
    if (peer === undefined) throw new RangeError("a pool has one endpoint at least");
    return peer;
  }

  /** Makes an endpoint the one to use. */
  prefer(peer: Peer): void {
    this.#at = this.peers.indexOf(peer);
    this.succeeded(peer);
  }

  /** The endpoint answered. Streams on one that has fallen silent move away, now that there is somewhere to go. */
  succeeded(peer: Peer): void {
    peer.lastFailure = undefined;
    peer.timeouts = 0;
    peer.reconnects = 0;
    for (const tenant of this.#tenants) {
      if (tenant.peer !== peer && tenant.peer.timeouts > 0) tenant.move();
    }
  }

  /** The endpoint gave no usable answer: the next one's turn. */
  failed(peer: Peer, status: RpcStatus): void {
    peer.lastFailure = status;
    if (peer === this.current) this.#at = (this.#at + 1) % this.peers.length;
  }

  /**
   * The endpoint let a time limit pass. A connection that looks open and carries nothing (a network that drops
   * packets, and then no longer does) recovers only when TCP tries again, seconds later; a new one works at once.
   * Rarer and rarer, so that an overloaded cluster is not stormed; and not for many requests that one slow spell held
   * up together: a second one counts only if it was sent after the first had been given up.
   */
  timedOut(peer: Peer, status: RpcStatus, sentAt: number): void {
    this.failed(peer, status);
    if (sentAt < peer.timedOutAt) return;
    const now = this.#clock.now();
    peer.timeouts++;
    peer.timedOutAt = now;
    if (peer.timeouts < 2 || now < peer.nextReconnectAt) return;
    const pause = Math.min(
      longestReconnectPauseMs,
      firstReconnectPauseMs * 2 ** Math.min(peer.reconnects, 10),
    );
    peer.reconnects++;
    peer.nextReconnectAt = now + pause * (0.75 + this.#clock.random() / 2);
    peer.reconnect();
  }

  /** Registers a stream; the result takes it out again. */
  host(tenant: Tenant): () => void {
    this.#tenants.add(tenant);
    return () => this.#tenants.delete(tenant);
  }

  close(): void {
    for (const peer of this.peers) peer.close();
  }
}
