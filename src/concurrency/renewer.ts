import type { Connection, Etcd } from "../etcd/etcd.ts";
import { type Proof, SharedFlag } from "./proof.ts";
import { Renewal, type RenewalListener } from "./renewal.ts";
import type { OnHang } from "./renewal-protocol.ts";
import { type KeyListener, RenewalThread } from "./renewal-thread.ts";

/** A candidate's key, for the renewal thread to look at while the main thread is blocked. */
export interface WatchedKey {
  readonly name: string;
  readonly token: bigint;
  readonly proof: Proof;
  readonly acting: SharedFlag;
  readonly listener: KeyListener;
}

export interface RenewerOptions {
  readonly etcd: Etcd;
  readonly leaseId: bigint;
  readonly ttlMs: number;
  /** When the lease was granted or last renewed. */
  readonly renewedAt: number;
  readonly proof: Proof;
  readonly listener: RenewerListener;
  /** How the renewal thread connects; undefined to renew on the main thread. */
  readonly connection: Connection | undefined;
  readonly hangAfterMs: number;
  readonly onHang: OnHang;
  /** Set while renewal is withheld because the main thread hangs. */
  readonly hung: SharedFlag;
}

export interface RenewerListener extends RenewalListener {
  /** The store went back. */
  restored(): void;
}

/**
 * Has a lease renewed: at first on the main thread, so that opening a session waits for nothing, then by the renewal
 * thread, and on the main thread again should that end.
 */
export class Renewer {
  readonly #options: RenewerOptions;
  /** Seen by the thread before any message is. */
  readonly #stopped = new SharedFlag();
  readonly #keys: Map<WatchedKey, () => void> = new Map();
  #here: Renewal | undefined;
  #thread: RenewalThread | undefined;
  #lease = 0;
  #stopThread: () => void = () => {};
  #ttlMs: number;
  #renewedAt: number;
  #cancelStart: () => void = () => {};

  constructor(options: RenewerOptions) {
    this.#options = options;
    this.#ttlMs = options.ttlMs;
    this.#renewedAt = options.renewedAt;
    this.#renewHere();
    const { connection } = options;
    if (connection === undefined) return;
    // Starting a thread takes some milliseconds, which are better spent when what follows the opening is under way.
    const start = setImmediate(() => this.#renewByThread(connection));
    this.#cancelStart = () => clearImmediate(start);
  }

  /** No more renewals, in whichever thread. */
  stop(): void {
    this.#stopped.value = true;
    this.#cancelStart();
    this.#here?.stop();
    this.#stopThread();
  }

  /** Has the thread, if there is one, look at a key until the result is called. */
  watch(key: WatchedKey): () => void {
    this.#keys.set(key, this.#watchByThread(key));
    return () => {
      this.#keys.get(key)?.();
      this.#keys.delete(key);
    };
  }

  #renewHere(): void {
    const { etcd, leaseId } = this.#options;
    const listener: RenewalListener = {
      renewed: (sentAt, ttlMs) => this.#renewed(sentAt, ttlMs),
      gone: () => this.#options.listener.gone(),
    };
    this.#here = new Renewal(etcd, leaseId, this.#ttlMs, listener);
    this.#here.start(this.#renewedAt);
  }

  #renewByThread(connection: Connection): void {
    const { etcd, leaseId, proof, listener, hangAfterMs, onHang, hung } = this.#options;
    if (this.#stopped.value) return;
    try {
      this.#thread = RenewalThread.running();
    } catch (error) {
      etcd.logger.warn({ error }, "cannot start the renewal thread; renewing on the main thread");
      return;
    }
    const order = {
      ...{ leaseId, ttlMs: this.#ttlMs, renewedAt: this.#renewedAt, hangAfterMs, onHang },
      ...{ proof: proof.memory, hung: hung.memory, stopped: this.#stopped.memory },
    };
    const { lease, stop } = this.#thread.renew(etcd, connection, order, {
      taken: () => {
        this.#here?.stop();
        etcd.logger.debug({ leaseId: leaseId.toString(16) }, "the renewal thread renews from now on");
      },
      renewed: (sentAt, ttlMs) => this.#renewed(sentAt, ttlMs),
      gone: () => listener.gone(),
      restored: () => listener.restored(),
      threadLost: () => this.#onThreadLost(),
    });
    this.#lease = lease;
    this.#stopThread = stop;
    for (const key of this.#keys.keys()) this.#keys.set(key, this.#watchByThread(key));
  }

  #onThreadLost(): void {
    this.#thread = undefined;
    this.#stopThread = () => {};
    for (const key of this.#keys.keys()) this.#keys.set(key, () => {});
    this.#options.hung.value = false;
    if (this.#stopped.value) return;
    this.#here?.stop();
    this.#renewHere();
  }

  #watchByThread({ name, token, proof, acting, listener }: WatchedKey): () => void {
    if (this.#thread === undefined) return () => {};
    const order = { lease: this.#lease, name, token, proof: proof.memory, acting: acting.memory };
    return this.#thread.watch(order, listener);
  }

  #renewed(sentAt: number, ttlMs: number): void {
    this.#renewedAt = Math.max(this.#renewedAt, sentAt);
    this.#ttlMs = ttlMs;
    this.#options.listener.renewed(sentAt, ttlMs);
  }
}
