import type { Clock } from "../clock.ts";
import type { Store } from "../devserver/store.ts";
import { closedError } from "../errors.ts";
import { Etcd, type EtcdOptions } from "../etcd/etcd.ts";
import { checkOptions } from "./arguments.ts";
import { type FaultScope, Faults } from "./faults.ts";

/** What may be set for a client of a link; the rest follows from the link. */
export type ClientOptions = Pick<EtcdOptions, "attemptTimeoutMs" | "logger">;

/** One after the other, in the order in which they were asked for. @internal */
export type Turns = <T>(task: () => Promise<T>) => Promise<T>;

/** @internal */
export interface LinkOptions {
  readonly clock: Clock;
  readonly turns: Turns;
  readonly store: () => Store;
}

/**
 * A way to the test's etcd with switches for faults of its own: give each member one, and one of them can be cut off
 * while the others are not. Every switch may be thrown twice and together with others, also while requests are under
 * way; `heal` takes all of them back. After `close` they throw `CLOSED`.
 */
export abstract class Link {
  /** @internal */
  protected readonly faults: Faults;
  /** @internal */
  protected readonly store: () => Store;
  readonly #turns: Turns;
  readonly #clients: Set<Etcd> = new Set();
  #refused = false;
  #closed: Promise<void> | undefined;

  /** @internal */
  constructor({ clock, turns, store }: LinkOptions) {
    this.faults = new Faults(clock);
    this.store = store;
    this.#turns = turns;
  }

  /** `host:port`, as members and etcd's clients take it. */
  abstract get endpoint(): string;

  /**
   * A client over this link, for `Member.join({ etcd })`, `Session` and the rest. It is closed with the link, if not
   * before. Throws `BAD_OPTION`.
   */
  client(options: ClientOptions = {}): Etcd {
    this.#checkOpen();
    checkOptions(options, ["attemptTimeoutMs", "logger"]);
    const client = new Etcd({ endpoints: [this.endpoint], ...options, ...this.connection() });
    this.#clients.add(client);
    return client;
  }

  /**
   * Connections are accepted and stand, and nothing passes, as if the network dropped every packet. Requests are
   * withheld, or their answers alone with `way: "toClient"`: then they are carried out. `only` strikes a part of the
   * traffic: `only: "watches"` leaves a client whose lease lives and who hears of no change. Calling it again adds to
   * it. Throws `BAD_OPTION`.
   */
  silent(scope: FaultScope = {}): void {
    this.#checkOpen();
    this.faults.silence(scope);
  }

  /**
   * What is sent from now on takes `ms` longer each way, or one way, or for a part of the traffic: a round trip takes
   * twice that. 0 takes it back. Throws `BAD_OPTION`.
   */
  delay(ms: number, scope: FaultScope = {}): void {
    this.#checkOpen();
    this.faults.delay(ms, scope);
  }

  /** Ends every connection, and refuses new ones, as if nothing listened there. */
  async refuse(): Promise<void> {
    this.#checkOpen();
    await this.#turns(async () => {
      this.#refused = true;
      await this.down();
    });
  }

  /**
   * Takes every fault of this link back. What was withheld or delayed is delivered at once, as TCP would do, except
   * what the client has given up. Rejects with `BAD_OPTION` if somebody else has taken the port meanwhile.
   */
  async heal(): Promise<void> {
    this.#checkOpen();
    this.faults.heal();
    await this.#turns(async () => {
      this.#refused = false;
      if (this.#closed === undefined) await this.up();
    });
  }

  /** Closes the link's clients, and ends every connection. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** @internal Ends every connection and takes no new one. */
  abstract down(): Promise<void>;
  /** @internal Takes connections, if it did not. */
  protected abstract up(): Promise<void>;
  /** @internal What a client needs to come here. */
  protected abstract connection(): Partial<EtcdOptions>;

  /** @internal Back after a restart, unless it is refused. */
  async back(): Promise<void> {
    if (!this.#refused && this.#closed === undefined) await this.up();
  }

  async #end(): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.#turns(() => this.down());
  }

  #checkOpen(): void {
    if (this.#closed !== undefined) throw closedError("the link");
  }
}
