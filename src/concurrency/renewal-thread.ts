import { Worker } from "node:worker_threads";
import { type CancelTimer, systemClock } from "../clock.ts";
import type { Connection, Etcd } from "../etcd/etcd.ts";
import { onAbort } from "../waiting.ts";
import type { FromThread, KeyOrder, LeaseOrder, ThreadData, ToThread } from "./renewal-protocol.ts";
import { Heartbeat, SignOfLife } from "./sign-of-life.ts";

/** How long a thread without a lease is kept: a member that comes back needs it again at once. */
const lingerMs = 5_000;

/** What is told of a lease that the thread was asked to keep. */
export interface LeaseListener {
  /** The thread has renewed it once, and goes on. */
  taken(): void;
  /** The thread cannot, now. */
  refused(why: string): void;
  renewed(sentAt: number, ttlMs: number, roundTripMs: number): void;
  gone(): void;
  restored(): void;
  /** There is no thread any more, or never was. */
  threadLost(): void;
}

/** What is told of a key that the thread was asked to look at. */
export interface KeyListener {
  /** The thread watches it from now on; or there is no thread for now, and it will not be watched. */
  settled(): void;
  seen(sentAt: number): void;
  missing(): void;
}

interface Client {
  readonly etcd: Etcd;
  readonly connection: Connection;
  readonly number: number;
  readonly forgets: readonly (() => void)[];
}

let numbers = 0;

/**
 * The one renewal thread of the process, as the main thread sees it. It is started when the first lease is given to it
 * and ends some seconds after the last one. It never keeps the process alive.
 */
export class RenewalThread {
  static #running: RenewalThread | undefined;
  readonly #worker: Worker;
  readonly #heartbeat: Heartbeat;
  readonly #leases: Map<number, { readonly listener: LeaseListener; readonly client: Client }> = new Map();
  readonly #keys: Map<number, KeyListener> = new Map();
  readonly #clients: Map<Etcd, Client> = new Map();
  #cancelLinger: CancelTimer = () => {};

  private constructor() {
    const life = new SignOfLife();
    life.give(systemClock.now());
    const data: ThreadData = { origin: systemClock.origin, signOfLife: life.memory };
    this.#worker = new Worker(new URL("./renewal-worker.js", import.meta.url), {
      name: "succession-renewal",
      workerData: data,
      // Some flags of the main thread, such as --input-type, forbid a worker from a file.
      execArgv: [],
    });
    this.#worker.unref();
    this.#heartbeat = new Heartbeat(systemClock, life, (blockedMs) => {
      const fields = { blockedMs: Math.round(blockedMs) };
      for (const { etcd } of this.#clients.values()) etcd.logger.warn(fields, "the event loop was blocked");
    });
    this.#worker.on("message", (message: FromThread) => this.#onMessage(message));
    this.#worker.on("error", (error) => this.#onEnd(error));
    this.#worker.on("exit", () => this.#onEnd(undefined));
  }

  /** The process's thread, started if there is none. Throws where threads cannot be started. */
  static running(): RenewalThread {
    RenewalThread.#running ??= new RenewalThread();
    return RenewalThread.#running;
  }

  /** Keeps a lease alive until the result is called. */
  renew(
    etcd: Etcd,
    connection: Connection,
    order: Omit<LeaseOrder, "lease" | "client" | "connection">,
    listener: LeaseListener,
  ): { readonly lease: number; readonly stop: () => void } {
    const lease = ++numbers;
    const client = this.#clientOf(etcd, connection);
    this.#cancelLinger();
    this.#leases.set(lease, { listener, client });
    this.#send({ do: "renew", lease, client: client.number, connection, ...order });
    const stop = (): void => {
      if (!this.#leases.delete(lease)) return;
      this.#send({ do: "stop", lease });
      if (this.#leases.size === 0) this.#idle();
    };
    return { lease, stop };
  }

  /** Looks at a key of a lease, while the main thread does not, until the result is called. */
  watch(order: Omit<KeyOrder, "key">, listener: KeyListener): () => void {
    const key = ++numbers;
    this.#keys.set(key, listener);
    this.#send({ do: "watch", key, ...order });
    return () => {
      if (this.#keys.delete(key)) this.#send({ do: "forget", key });
    };
  }

  #clientOf(etcd: Etcd, connection: Connection): Client {
    const known = this.#clients.get(etcd);
    if (known !== undefined) return known;
    const client: Client = {
      ...{ etcd, connection, number: ++numbers },
      forgets: [
        onAbort(etcd.closedSignal, () => {
          this.#forgetClient(client);
          // Whoever closes his client is done; nobody comes back on it.
          if (this.#clients.size === 0 && this.#leases.size === 0) this.#close();
        }),
        // Its sessions have ended. What the thread's client knows of the store would be held against the restored one.
        etcd.onRestored(() => this.#forgetClient(client)),
      ],
    };
    this.#clients.set(etcd, client);
    return client;
  }

  #forgetClient({ etcd, number, forgets }: Client): void {
    for (const forget of forgets) forget();
    this.#clients.delete(etcd);
    this.#send({ do: "close", client: number });
  }

  #idle(): void {
    this.#cancelLinger();
    const timer = setTimeout(() => this.#close(), lingerMs);
    // The clock's own timers keep the process alive.
    timer.unref();
    this.#cancelLinger = () => clearTimeout(timer);
  }

  #close(): void {
    // Work that outlives its lease still needs the watchdog.
    if (this.#keys.size > 0) {
      this.#idle();
      return;
    }
    this.#onEnd(undefined);
    void this.#worker.terminate();
  }

  #onEnd(error: unknown): void {
    if (RenewalThread.#running === this) RenewalThread.#running = undefined;
    this.#heartbeat.stop();
    this.#cancelLinger();
    for (const { forgets } of this.#clients.values()) for (const forget of forgets) forget();
    this.#clients.clear();
    const leases = [...this.#leases.values()];
    this.#leases.clear();
    this.#keys.clear();
    for (const { listener, client } of leases) {
      client.etcd.logger.error(
        { error },
        "the renewal thread has ended; renewing on the main thread meanwhile",
      );
      listener.threadLost();
    }
  }

  #send(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #onMessage(message: FromThread): void {
    switch (message.on) {
      case "taken":
        this.#leases.get(message.lease)?.listener.taken();
        return;
      case "refused":
        this.#leases.get(message.lease)?.listener.refused(message.why);
        return;
      case "renewed":
        this.#leases.get(message.lease)?.listener.renewed(message.sentAt, message.ttlMs, message.roundTripMs);
        return;
      case "gone":
        this.#leases.get(message.lease)?.listener.gone();
        return;
      case "watching":
        this.#keys.get(message.key)?.settled();
        return;
      case "key-seen":
        this.#keys.get(message.key)?.seen(message.sentAt);
        return;
      case "key-missing":
        this.#keys.get(message.key)?.missing();
        return;
      case "restored":
        for (const { listener, client } of [...this.#leases.values()]) {
          if (client.number === message.client) listener.restored();
        }
        return;
      case "log":
        for (const { etcd, number } of this.#clients.values()) {
          if (number === message.client) etcd.logger[message.level](message.fields, message.message);
        }
        return;
    }
  }
}
