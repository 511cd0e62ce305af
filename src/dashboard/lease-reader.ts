import type { Etcd } from "../etcd/etcd.ts";
import { leaseTimes } from "../overview/lease-times.ts";
import { sleep } from "../waiting.ts";
import type { Followed } from "./followed.ts";
import type { LeasesMessage } from "./messages.ts";

/** etcd is asked about each lease by itself: hundreds take their turn. */
const leastPeriodMs = 1_000;
const eachMs = 20;
const atOnce = 10;

export interface LeaseReaderOptions {
  /** The elections that somebody looks at. */
  watched(): readonly Followed[];
  read(message: LeasesMessage): void;
}

/** Reads again and again what is left of the leases in elections that somebody looks at. */
export class LeaseReader {
  readonly #etcd: Etcd;
  readonly #options: LeaseReaderOptions;
  readonly #closed = new AbortController();
  readonly #ended: Promise<void>;

  constructor(etcd: Etcd, options: LeaseReaderOptions) {
    this.#etcd = etcd;
    this.#options = options;
    this.#ended = this.#loop();
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#ended;
  }

  /** Never rejects. */
  async #loop(): Promise<void> {
    const { signal } = this.#closed;
    const { clock } = this.#etcd;
    while (!signal.aborted) {
      let asked = 0;
      for (const { overview } of this.#options.watched()) {
        if (overview === undefined) continue;
        const { election, line, pause } = overview;
        const leaseIds = [...line.map(({ leaseId }) => leaseId), pause?.leaseId ?? 0n];
        asked += leaseIds.length;
        try {
          const times = await leaseTimes(this.#etcd, leaseIds, { atOnce, signal });
          const leases = line.flatMap(({ key, leaseId }) => {
            const time = times.get(leaseId);
            return time === undefined ? [] : [[key, [time.remainingMs, time.ttlMs]] as const];
          });
          const paused = times.get(pause?.leaseId ?? 0n);
          const left = paused === undefined ? {} : { pauseMs: paused.remainingMs };
          if (times.size > 0) this.#options.read({ election, leases: Object.fromEntries(leases), ...left });
        } catch {
          // The dashboard is closing.
        }
      }
      await sleep(clock, Math.max(leastPeriodMs, asked * eachMs), signal).catch(() => {});
    }
  }
}
