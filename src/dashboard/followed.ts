import type { Etcd } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import { followOverview } from "../overview/follow.ts";
import type { Overview } from "../overview/overview.ts";
import { backoffMs, sleep } from "../waiting.ts";
import type { ElectionSummary, OverviewMessage } from "./messages.ts";
import { overviewMessage } from "./overview-message.ts";

/** A storm of joining candidates is told in so many steps a second; a failover is still seen at once. */
const tellEveryMs = 100;
/** What cannot be read, for want of a right, is tried again after so long at first, and at most. */
const retryMs = [1_000, 30_000] as const;

export interface FollowedOptions {
  readonly etcd: Etcd;
  readonly logger: Logger;
  readonly election: string;
  readonly metaPrefix: string;
  readonly changed: () => void;
}

/** One election, as it is now or was known last. */
export class Followed {
  readonly election: string;
  readonly #options: FollowedOptions;
  readonly #closed = new AbortController();
  readonly #ended: Promise<void>;
  #overview: Overview | undefined;
  #message: OverviewMessage | undefined;
  #changedAt: Date;
  #staleSince: number | undefined;
  #vacantSince: number;
  #problem: string | undefined;

  constructor(options: FollowedOptions) {
    this.election = options.election;
    this.#options = options;
    this.#vacantSince = options.etcd.clock.now();
    this.#changedAt = options.etcd.clock.date();
    this.#ended = this.#follow();
  }

  get overview(): Overview | undefined {
    return this.#overview;
  }

  /** What the page is told, made when it is asked for; `undefined` until the election was read. */
  get message(): OverviewMessage | undefined {
    if (this.#overview !== undefined) this.#message ??= overviewMessage(this.#overview, this.#changedAt);
    return this.#message;
  }

  get summary(): ElectionSummary {
    const { leader, line = [], pause } = this.#overview ?? {};
    return {
      ...{ election: this.election, read: this.#overview !== undefined, leader: leader?.id ?? null },
      ...{ candidates: line.length, paused: pause !== undefined },
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    };
  }

  /** For how many milliseconds etcd has not answered; `undefined` while it does. */
  get staleMs(): number | undefined {
    return this.#staleSince === undefined ? undefined : this.#options.etcd.clock.now() - this.#staleSince;
  }

  /** For how many milliseconds nobody has stood in it. */
  get vacantMs(): number {
    const { clock } = this.#options.etcd;
    if (this.#overview === undefined || this.#overview.line.length > 0) this.#vacantSince = clock.now();
    return clock.now() - this.#vacantSince;
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#ended;
  }

  /** Never rejects. */
  async #follow(): Promise<void> {
    const { etcd, election, metaPrefix, changed, logger } = this.#options;
    const { signal } = this.#closed;
    for (let failures = 0; !signal.aborted && !etcd.closedSignal.aborted; ) {
      try {
        for await (const item of followOverview(etcd, election, {
          metaPrefix,
          signal,
          everyMs: tellEveryMs,
        })) {
          failures = 0;
          this.#problem = undefined;
          this.#staleSince = item.at === "stale" ? item.answeredAt : undefined;
          if (item.overview !== undefined && item.overview !== this.#overview) {
            this.#overview = item.overview;
            this.#message = undefined;
            this.#changedAt = etcd.clock.date();
          }
          changed();
        }
      } catch (error) {
        if (signal.aborted || etcd.closedSignal.aborted) return;
        this.#problem = error instanceof Error ? error.message : String(error);
        if (failures === 0) logger.warn({ error, election }, "the dashboard cannot read an election");
        failures++;
        changed();
      }
      await sleep(etcd.clock, backoffMs(etcd.clock, failures, ...retryMs), signal).catch(() => {});
    }
  }
}
