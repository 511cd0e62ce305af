import type { CancelTimer, Clock } from "../clock.ts";
import { Etcd } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import type { Charge } from "./charge.ts";
import { giveBack } from "./give-back.ts";

/** What is held for the service, and the connections to etcd, which stand before they are needed. */
export class Charges {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #held: Map<string, Charge> = new Map();
  readonly #links: Map<string, Link> = new Map();

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  get isEmpty(): boolean {
    return this.#held.size === 0;
  }

  /** After so long a silence the service counts as hung: the strictest of its leases decides. */
  get hangAfterMs(): number {
    return Math.min(...[...this.#held.values()].map((charge) => charge.hangAfterMs));
  }

  hold(charge: Charge): void {
    this.#held.set(charge.leaseId, charge);
    this.#linkOf(charge)?.look(charge);
  }

  drop(leaseId: string): void {
    const charge = this.#held.get(leaseId);
    if (charge === undefined) return;
    this.#held.delete(leaseId);
    const name = nameOf(charge);
    if ([...this.#held.values()].some((each) => nameOf(each) === name)) return;
    this.#links.get(name)?.close();
    this.#links.delete(name);
  }

  /**
   * Only when the service is dead. Resolves when etcd has answered, or will not in any useful time: then to false.
   * Never rejects.
   */
  async giveBack(): Promise<boolean> {
    const all = [...this.#held.values()];
    const given = await Promise.all(
      all.map(async (charge) => {
        const link = this.#linkOf(charge);
        return link !== undefined && (await giveBack(link.etcd, charge));
      }),
    );
    return given.every(Boolean);
  }

  /** Undefined where TLS files cannot be read just now. */
  #linkOf(charge: Charge): Link | undefined {
    const name = nameOf(charge);
    const known = this.#links.get(name);
    if (known !== undefined) return known;
    try {
      const etcd = new Etcd({ ...charge.connection, clock: this.#clock, logger: this.#logger });
      const link = new Link(etcd, charge);
      this.#links.set(name, link);
      return link;
    } catch (error) {
      this.#logger.warn({ error }, "the guardian cannot connect to etcd");
      return undefined;
    }
  }
}

const nameOf = ({ connection }: Charge): string => JSON.stringify(connection);

/** A connection that is used now and then, so that it stands, and its token is valid, when it counts. */
class Link {
  readonly etcd: Etcd;
  #charge: Charge;
  #looking = false;
  #broken = false;
  #cancelTimer: CancelTimer = () => {};

  constructor(etcd: Etcd, charge: Charge) {
    this.etcd = etcd;
    this.#charge = charge;
  }

  /** Looks at this charge's key, at once and from now on. */
  look(charge: Charge): void {
    this.#charge = charge;
    if (this.#looking) return;
    this.#cancelTimer();
    void this.#look(charge);
  }

  close(): void {
    this.#cancelTimer();
    void this.etcd.close();
  }

  /** Never rejects. */
  async #look({ key, ttlMs }: Charge): Promise<void> {
    const { etcd } = this;
    const { clock, logger, closedSignal } = etcd;
    const periodMs = Math.max(1_000, ttlMs / 3);
    this.#looking = true;
    try {
      // A linearizable read: an endpoint that answers it will take the deletion, too.
      await etcd.range(key, { keysOnly: true, timeoutMs: periodMs });
      if (this.#broken) logger.warn({}, "the guardian reaches etcd again");
      this.#broken = false;
    } catch (error) {
      if (!this.#broken && !closedSignal.aborted) logger.warn({ error }, "the guardian cannot reach etcd");
      this.#broken = true;
    }
    this.#looking = false;
    if (closedSignal.aborted) return;
    this.#cancelTimer = clock.at(clock.now() + periodMs, () => void this.#look(this.#charge));
  }
}
