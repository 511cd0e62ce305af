import type { CancelTimer } from "../clock.ts";
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

/** How long a thread that ended, or refused a lease, is left alone; from half of it on, by chance. */
const againMs = 4_000;

/** The thread has had its chance, and another one, when so much of the TTL is left: then the main thread renews as well. */
const lowShare = 0.5;

/**
 * Has a lease renewed: at first on the main thread, so that opening a session waits for nothing, then by the renewal
 * thread, once that has shown that it can; and on the main thread whenever that falls behind or ends.
 */
export class Renewer {
  readonly #options: RenewerOptions;
  readonly #connection: Connection | undefined;
  /** Seen by the thread before any message is. */
  readonly #stopped = new SharedFlag();
  readonly #keys: Map<WatchedKey, () => void> = new Map();
  #here: Renewal | undefined;
  #thread: RenewalThread | undefined;
  #lease = 0;
  /** Whether the thread was asked for in vain. */
  #alone = false;
  #leaveThread: () => void = () => {};
  #ttlMs: number;
  #renewedAt: number;
  #cancelStart: () => void = () => {};
  #cancelCheck: CancelTimer = () => {};

  constructor(options: RenewerOptions) {
    this.#options = options;
    this.#connection = options.connection;
    this.#ttlMs = options.ttlMs;
    this.#renewedAt = options.renewedAt;
    this.#renewHere();
    if (this.#connection === undefined) return;
    // Starting a thread takes some milliseconds, which are better spent when what follows the opening is under way.
    const start = setImmediate(() => this.#askThread());
    this.#cancelStart = () => clearImmediate(start);
  }

  /** No more renewals, in whichever thread. */
  stop(): void {
    this.#stopped.value = true;
    this.#cancelStart();
    this.#cancelCheck();
    this.#here?.stop();
    this.#leaveThread();
  }

  /** Whether work may have to be killed, and there is or will be a thread that can: it must watch before work begins. */
  get guards(): boolean {
    return this.#options.onHang === "kill" && this.#connection !== undefined && !this.#alone;
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
      renewed: (...renewal) => this.#renewed(...renewal),
      gone: () => this.#options.listener.gone(),
    };
    this.#here?.stop();
    this.#here = new Renewal(etcd, leaseId, this.#ttlMs, listener);
    this.#here.start(this.#renewedAt);
  }

  #stopHere(): void {
    this.#here?.stop();
    this.#here = undefined;
  }

  #askThread(): void {
    const { etcd, leaseId, proof, listener, hangAfterMs, onHang, hung } = this.#options;
    if (this.#stopped.value || this.#connection === undefined) return;
    const order = {
      ...{ leaseId, ttlMs: this.#ttlMs, renewedAt: this.#renewedAt, hangAfterMs, onHang },
      ...{ proof: proof.memory, hung: hung.memory, stopped: this.#stopped.memory },
    };
    try {
      const thread = RenewalThread.running();
      const { lease, stop } = thread.renew(etcd, this.#connection, order, {
        taken: () => this.#onTaken(),
        refused: (why) => this.#withoutThread(why),
        renewed: (...renewal) => {
          this.#stopHere();
          this.#renewed(...renewal);
        },
        gone: () => listener.gone(),
        restored: () => listener.restored(),
        threadLost: () => this.#withoutThread("it has ended"),
      });
      this.#thread = thread;
      this.#alone = false;
      this.#lease = lease;
      this.#leaveThread = stop;
    } catch (error) {
      this.#withoutThread(String(error));
      return;
    }
    for (const key of this.#keys.keys()) this.#keys.set(key, this.#watchByThread(key));
  }

  #onTaken(): void {
    const { etcd, leaseId } = this.#options;
    this.#stopHere();
    this.#check();
    etcd.logger.debug({ leaseId: leaseId.toString(16) }, "the renewal thread renews from now on");
  }

  /** Renews here as well where the thread falls behind: it may have lost its way to etcd while ours is sound. */
  #check(): void {
    const { etcd, leaseId, proof, hung } = this.#options;
    const lowAt = (): number => proof.until - lowShare * this.#ttlMs;
    this.#cancelCheck();
    if (this.#stopped.value) return;
    this.#cancelCheck = etcd.clock.at(Math.max(lowAt(), etcd.clock.now() + 50), () => {
      // What the thread has heard is in the proof, also where its message is still to come.
      const late = etcd.clock.now() >= lowAt() && proof.loss === undefined && !hung.value;
      if (late && this.#here === undefined) {
        const fields = { leaseId: leaseId.toString(16) };
        etcd.logger.warn(fields, "the renewal thread is late; renewing on the main thread as well");
        this.#renewHere();
      }
      this.#check();
    });
  }

  /** There is no thread for this lease: it is renewed here, and a thread asked again after a while. */
  #withoutThread(why: string): void {
    const { etcd, leaseId, hung, onHang } = this.#options;
    this.#leaveThread();
    this.#leaveThread = () => {};
    this.#thread = undefined;
    this.#cancelCheck();
    for (const key of this.#keys.keys()) this.#keys.set(key, () => {});
    hung.value = false;
    if (this.#stopped.value) return;
    this.#alone = true;
    for (const { listener } of [...this.#keys.keys()]) listener.settled();
    const fields = { leaseId: leaseId.toString(16), why };
    if (onHang === "kill") etcd.logger.error(fields, 'no renewal thread: onHang "kill" is not in force');
    else etcd.logger.warn(fields, "no renewal thread: a blocked event loop may lose the lease");
    if (this.#here === undefined) this.#renewHere();
    const pause = againMs * (0.5 + etcd.clock.random() / 2);
    this.#cancelStart = etcd.clock.at(etcd.clock.now() + pause, () => this.#askThread());
  }

  #watchByThread({ name, token, proof, acting, listener }: WatchedKey): () => void {
    if (this.#thread === undefined) return () => {};
    const order = { lease: this.#lease, name, token, proof: proof.memory, acting: acting.memory };
    return this.#thread.watch(order, listener);
  }

  #renewed(sentAt: number, ttlMs: number, roundTripMs: number): void {
    this.#renewedAt = Math.max(this.#renewedAt, sentAt);
    this.#ttlMs = ttlMs;
    this.#options.listener.renewed(sentAt, ttlMs, roundTripMs);
  }
}
