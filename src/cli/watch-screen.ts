import type { Etcd } from "../etcd/etcd.ts";
import type { OverviewItem } from "../overview/follow.ts";
import { leaseTimes } from "../overview/lease-times.ts";
import { sleep } from "../waiting.ts";
import type { LeaseTimes } from "./line-table.ts";
import type { Output } from "./output.ts";
import { styleFor } from "./style.ts";
import { type Watched, watchLines } from "./watch-view.ts";

const redrawEveryMs = 500;
/** etcd is asked about each lease by itself: only about those that can be seen, and not all the time. */
const readTimesEveryMs = 2_000;
const firstTimesMs = 250;
const readTimesMs = 1_500;

interface Seen {
  item?: OverviewItem;
  times: LeaseTimes;
  /** When they were asked for. */
  timesAt: number;
}

/** Elections on the whole screen of a terminal, drawn anew at each change and twice a second. */
export class WatchScreen {
  readonly #etcd: Etcd;
  readonly #output: Output;
  readonly #seen: Map<string, Seen>;
  readonly #stopped = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(etcd: Etcd, output: Output, elections: readonly string[]) {
    this.#etcd = etcd;
    this.#output = output;
    const now = etcd.clock.now();
    this.#seen = new Map(elections.map((election) => [election, { times: new Map(), timesAt: now }]));
  }

  open(): void {
    this.#draw();
    this.#timer = setInterval(() => this.#draw(), redrawEveryMs);
    this.#output.onResized = () => this.#draw();
    void this.#readTimes();
  }

  told(election: string, item: OverviewItem): void {
    const seen = this.#seen.get(election);
    if (seen === undefined) return;
    seen.item = item;
    this.#draw();
  }

  close(): void {
    this.#stopped.abort();
    clearInterval(this.#timer);
    this.#output.onResized = () => {};
    this.#output.leaveScreen();
  }

  #draw(): void {
    const { looks } = this.#output;
    const style = styleFor(looks);
    const now = this.#etcd.clock.now();
    const all: Watched[] = [...this.#seen].map(([election, { item, times, timesAt }]) => ({
      ...{ election, item, times, timesAgeMs: now - timesAt },
      staleMs: item?.at === "stale" ? now - item.answeredAt : 0,
    }));
    const time = this.#etcd.clock.date().toLocaleTimeString("sv-SE");
    const head = style.dim(`succession watch, ${time}; Ctrl-C ends`);
    this.#output.screen([
      head,
      "",
      ...watchLines(all, { rows: looks.rows - 2, columns: looks.columns, style }),
    ]);
  }

  /** Never rejects. */
  async #readTimes(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      for (const seen of this.#seen.values()) await this.#readTimesOf(seen).catch(() => {});
      const begun = [...this.#seen.values()].some(({ times }) => times.size > 0);
      const pauseMs = begun ? readTimesEveryMs : firstTimesMs;
      await sleep(this.#etcd.clock, pauseMs, signal).catch(() => {});
    }
  }

  async #readTimesOf(seen: Seen): Promise<void> {
    const { item } = seen;
    // While etcd is away each question would only wait.
    if (item === undefined || item.at === "stale") return;
    const { line, witnesses, pause } = item.overview;
    const visible = [...line, ...witnesses].slice(0, this.#output.looks.rows);
    const leases = [...visible, ...(pause === undefined ? [] : [pause])].map(({ leaseId }) => leaseId);
    const limits = { timeoutMs: readTimesMs, signal: this.#stopped.signal };
    const askedAt = this.#etcd.clock.now();
    seen.times = await leaseTimes(this.#etcd, leases, limits);
    seen.timesAt = askedAt;
  }
}
