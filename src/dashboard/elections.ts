import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import type { Logger } from "../log.ts";
import { listElections } from "../overview/elections.ts";
import { backoffMs, sleep } from "../waiting.ts";
import { Followed } from "./followed.ts";
import type { ElectionsMessage } from "./messages.ts";
import type { CheckedDashboard } from "./options.ts";
import { Throttle } from "./throttle.ts";

/** More than anybody looks through; each costs two watches. */
const mostElections = 100;
const listEveryMs = 5_000;
const listWithinMs = 5_000;
/** That nobody leads must be seen: an election that everybody has left is shown for so long. */
const vacantMs = 3_600_000;
const tellEveryMs = 200;

export interface ElectionsOptions {
  readonly etcd: Etcd;
  readonly logger: Logger;
  readonly settings: CheckedDashboard;
  /** Something of one election is another. */
  changed(followed: Followed): void;
  /** What there is to say of all in short is another. */
  changedInShort(message: ElectionsMessage): void;
}

/** The elections that are shown: those named, else every one that is found. */
export class Elections {
  readonly #options: ElectionsOptions;
  readonly #followed: Map<string, Followed> = new Map();
  readonly #closed = new AbortController();
  readonly #tell: Throttle;
  readonly #listing: Promise<void>;
  #listed = false;
  #more = 0;
  #problem: string | undefined;
  #told = "";

  constructor(options: ElectionsOptions) {
    const { etcd, settings } = options;
    this.#options = options;
    this.#tell = new Throttle(etcd.clock, tellEveryMs, () => this.#tellInShort());
    for (const election of settings.elections ?? []) this.#follow(election);
    this.#listed = settings.elections !== undefined;
    this.#listing = this.#listed ? Promise.resolve() : this.#list();
  }

  get(election: string): Followed | undefined {
    return this.#followed.get(election);
  }

  /** `undefined` until it is known which there are. */
  get inShort(): ElectionsMessage | undefined {
    if (!this.#listed) return undefined;
    const names = [...this.#followed.keys()];
    // In the order in which they were named, else by name.
    if (this.#options.settings.elections === undefined) names.sort();
    return {
      ...{ elections: names.flatMap((name) => this.get(name)?.summary ?? []), more: this.#more },
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    };
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#tell.stop();
    await Promise.all([this.#listing, ...[...this.#followed.values()].map((each) => each.close())]);
  }

  #follow(election: string): void {
    const { etcd, logger, settings, changed } = this.#options;
    const followed = new Followed({
      ...{ etcd, logger, election, metaPrefix: settings.metaPrefix },
      changed: () => {
        changed(followed);
        this.#tell.ask();
      },
    });
    this.#followed.set(election, followed);
  }

  #tellInShort(): void {
    const { inShort } = this;
    const text = JSON.stringify(inShort);
    if (inShort === undefined || text === this.#told) return;
    this.#told = text;
    this.#options.changedInShort(inShort);
  }

  /** Looks again and again which there are. Never rejects. */
  async #list(): Promise<void> {
    const { etcd, settings } = this.#options;
    const { clock } = etcd;
    const { signal } = this.#closed;
    const { metaPrefix } = settings;
    for (let failures = 0; !signal.aborted && !etcd.closedSignal.aborted; ) {
      try {
        const found = await listElections(etcd, { metaPrefix, signal, timeoutMs: listWithinMs });
        failures = 0;
        this.#problem = undefined;
        this.#update(found);
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        this.#failed(error);
      }
      const pauseMs = failures === 0 ? listEveryMs : backoffMs(clock, failures, 200, listEveryMs);
      await sleep(clock, pauseMs, signal).catch(() => {});
    }
  }

  #failed(error: unknown): void {
    // The page tells of an outage by itself.
    if (error instanceof EtcdError && error.code === "ETCD_UNAVAILABLE") return;
    const { logger } = this.#options;
    if (this.#problem === undefined) logger.warn({ error }, "the dashboard cannot list elections");
    this.#problem = error instanceof Error ? error.message : String(error);
    this.#listed = true;
    this.#tell.ask();
  }

  #update(found: readonly string[]): void {
    const names = new Set(found);
    for (const [election, followed] of this.#followed) {
      if (names.has(election) || followed.vacantMs < vacantMs) continue;
      this.#followed.delete(election);
      void followed.close();
    }
    const fresh = found.filter((election) => !this.#followed.has(election));
    const room = Math.max(0, mostElections - this.#followed.size);
    for (const election of fresh.slice(0, room)) this.#follow(election);
    this.#more = Math.max(0, fresh.length - room);
    this.#listed = true;
    this.#tell.ask();
  }
}
