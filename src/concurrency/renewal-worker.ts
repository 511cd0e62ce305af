import { write } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { SystemClock } from "../clock.ts";
import { Etcd } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import { provenUntil } from "./deadline.ts";
import { KeyWatch } from "./key-watch.ts";
import { Proof, SharedFlag } from "./proof.ts";
import { Renewal } from "./renewal.ts";
import type { FromThread, KeyOrder, LeaseOrder, ThreadData, ToThread } from "./renewal-protocol.ts";
import { SignOfLife } from "./sign-of-life.ts";
import { Watchdog } from "./watchdog.ts";

/*
 * The renewal thread of a process: keeps leases alive, and keys proven, while the main thread is busy. Started by
 * renewal-thread.ts.
 */

const { origin, signOfLife } = workerData as ThreadData;
const clock = new SystemClock(origin);
const life = new SignOfLife(signOfLife);
const silentMs = (): number => clock.now() - life.at;

function say(message: FromThread): void {
  parentPort?.postMessage(message);
}

/** What is logged here goes to the client's own logger, as far as it can be copied. */
function loggerOf(client: number): Logger {
  const at =
    (level: keyof Logger) =>
    (fields: object, message: string): void => {
      say({ on: "log", client, level, fields: plain(fields), message });
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

/** What can be copied to another thread; an error in words, for a copy of it would lose its code. */
function plain(fields: object): object {
  return JSON.parse(JSON.stringify(fields, (_name, value: unknown) => inWords(value)));
}

function inWords(value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (!(value instanceof Error)) return value;
  const { name, message, stack, cause } = value;
  return { ...value, name, message, stack, ...(cause === undefined ? {} : { cause }) };
}

/** How long the last words may take: standard error may be what blocks the main thread. */
const lastWordsMs = 20;

const watchdog = new Watchdog(clock, life, (ms) => {
  const kill = (): void => void process.kill(process.pid, "SIGKILL");
  setTimeout(kill, lastWordsMs);
  // The thread that could log is the one that is blocked.
  const what = `the event loop of process ${process.pid} has been blocked for ${Math.round(ms)} ms while it leads`;
  write(2, `succession: ${what}; ending the process before its deadline, as onHang "kill" asks\n`, kill);
});

/** So many refusals in a row, 50 ms apart, make a hung process: one that was suspended as a whole has woken by then. */
const hungRefusals = 3;

/** One lease, with the candidates' keys that hang on it. */
class Charge {
  readonly order: LeaseOrder;
  readonly etcd: Etcd;
  readonly proof: Proof;
  readonly keys: Map<number, () => void> = new Map();
  readonly #hung: SharedFlag;
  readonly #stopped: SharedFlag;
  readonly #renewal: Renewal;
  #refusals = 0;
  #taken = false;
  ttlMs: number;

  constructor(order: LeaseOrder, etcd: Etcd) {
    this.order = order;
    this.etcd = etcd;
    this.proof = new Proof(order.proof);
    this.#hung = new SharedFlag(order.hung);
    this.#stopped = new SharedFlag(order.stopped);
    this.ttlMs = order.ttlMs;
    const { lease, leaseId } = order;
    const listener = {
      renewed: (sentAt: number, ttlMs: number, roundTripMs: number): void => {
        this.ttlMs = ttlMs;
        this.proof.renew(provenUntil(sentAt, ttlMs), clock.now());
        // Not before: until the way from here to etcd has been shown to work, the main thread renews.
        if (!this.#taken) say({ on: "taken", lease });
        this.#taken = true;
        say({ on: "renewed", lease, sentAt, ttlMs, roundTripMs });
      },
      gone: (): void => {
        this.proof.lose("lease-gone");
        say({ on: "gone", lease });
      },
    };
    this.#renewal = new Renewal(etcd, leaseId, this.ttlMs, listener, () => this.#mayRenew());
    this.#renewal.start(order.renewedAt);
  }

  /** Whether the lease is to be kept: its owner has not let go of it, and is not hung. */
  wanted(): boolean {
    return !this.#stopped.value && silentMs() <= this.order.hangAfterMs;
  }

  #mayRenew(): boolean {
    const may = this.wanted();
    this.#refusals = may ? 0 : this.#refusals + 1;
    // Who woke in time is not hung any more, whatever ends the lease after that.
    if (may && !this.proof.passed(clock.now())) this.#hung.value = false;
    if (this.#refusals >= hungRefusals && !this.#stopped.value) this.#hung.value = true;
    return may;
  }

  watch({ key, name, token, ...order }: KeyOrder): void {
    const proof = new Proof(order.proof);
    const acting = new SharedFlag(order.acting);
    const keyWatch = new KeyWatch({
      ...{ etcd: this.etcd, name, token, leaseId: this.order.leaseId, proof, acting, silentMs },
      ttlMs: () => this.ttlMs,
      wanted: () => this.wanted(),
      onSeen: (sentAt) => say({ on: "key-seen", key, sentAt }),
      onMissing: () => say({ on: "key-missing", key }),
    });
    const lease = this.proof;
    const watched = {
      get acting() {
        return acting.value;
      },
      get until() {
        return Math.min(lease.until, proof.until);
      },
    };
    const unwatch = this.order.onHang === "kill" ? watchdog.add(watched) : (): void => {};
    this.keys.set(key, () => {
      keyWatch.stop();
      unwatch();
    });
  }

  forget(key: number): void {
    this.keys.get(key)?.();
    this.keys.delete(key);
  }

  /** The keys go on being watched: the work of one whose lease is no longer renewed may still have to be ended. */
  stop(): void {
    this.#renewal.stop();
  }
}

const clients: Map<number, Etcd> = new Map();
const charges: Map<number, Charge> = new Map();
const chargeOfKey: Map<number, Charge> = new Map();

function clientOf({ client, connection }: LeaseOrder): Etcd {
  const known = clients.get(client);
  if (known !== undefined) return known;
  const etcd = new Etcd({ ...connection, clock, logger: loggerOf(client) });
  etcd.onRestored(() => {
    for (const { order, proof } of charges.values()) {
      if (order.client === client) proof.lose("store-restored");
    }
    say({ on: "restored", client });
  });
  clients.set(client, etcd);
  return etcd;
}

function carryOut(order: ToThread): void {
  switch (order.do) {
    case "renew":
      try {
        charges.set(order.lease, new Charge(order, clientOf(order)));
      } catch (error) {
        // TLS files may be unreadable just now; that must not cost the others their thread.
        say({ on: "refused", lease: order.lease, why: String(error) });
      }
      return;
    case "stop":
      charges.get(order.lease)?.stop();
      charges.delete(order.lease);
      return;
    case "watch": {
      const charge = charges.get(order.lease);
      if (charge === undefined) return;
      charge.watch(order);
      chargeOfKey.set(order.key, charge);
      say({ on: "watching", key: order.key });
      return;
    }
    case "forget":
      chargeOfKey.get(order.key)?.forget(order.key);
      chargeOfKey.delete(order.key);
      return;
    case "close":
      void clients.get(order.client)?.close();
      clients.delete(order.client);
      return;
  }
}

parentPort?.on("message", carryOut);
