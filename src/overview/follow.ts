import type { CancelTimer } from "../clock.ts";
import { Line } from "../concurrency/line.ts";
import { badOption } from "../errors.ts";
import type { Etcd } from "../etcd/etcd.ts";
import type { EtcdError } from "../etcd/failure.ts";
import { Feed } from "../feed.ts";
import { onAbort } from "../waiting.ts";
import type { Meta } from "./meta.ts";
import { followMeta } from "./meta-following.ts";
import { checkOverview, defaultMostTerms, namingTheRange, type OverviewOptions } from "./options.ts";
import { type Overview, overviewOf } from "./overview.ts";
import { Pulse } from "./pulse.ts";

/** As many changes wait for a slow reader: each may be a line of hundreds. */
const mostBehind = 100;

/** What somebody who follows an election is told. */
export type OverviewItem =
  | {
      readonly at: "current";
      readonly overview: Overview;
      /** How many changes before this one a slow reader missed. */
      readonly skipped: number;
    }
  /** etcd does not answer since a while: what was last known, if anything. `current` follows when it answers again. */
  | {
      readonly at: "stale";
      readonly error: EtcdError;
      readonly overview: Overview | undefined;
      /** The instant, by the client's clock, up to which it answered. */
      readonly answeredAt: number;
      readonly skipped: number;
    };

export interface FollowOptions extends Omit<OverviewOptions, "timeoutMs"> {
  /**
   * Milliseconds between two items, of which the later then holds all that has happened meanwhile. 0 tells each change,
   * also a leader of a moment. @defaultValue 0
   */
  readonly everyMs?: number;
}

/**
 * Follows what an election looks like: the present state first, then each change, derived from etcd's events. Through an
 * outage it waits, and says so within some seconds. A reader who is 100 changes behind is taken to the newest one.
 *
 * It ends by throwing: `BAD_OPTION`, the signal's reason, `CLOSED` when the client is closed, or what makes the line
 * unreadable from the start, such as `PERMISSION_DENIED`.
 */
export async function* followOverview(
  etcd: Etcd,
  election: string,
  options: FollowOptions = {},
): AsyncGenerator<OverviewItem, void> {
  checkOverview(election, options);
  const { signal, everyMs = 0 } = options;
  if (!(Number.isFinite(everyMs) && everyMs >= 0)) {
    throw badOption("everyMs", "a number of milliseconds of 0 or more", everyMs);
  }
  signal?.throwIfAborted();
  etcd.closedSignal.throwIfAborted();
  const following = new Following(etcd, election, options, everyMs);
  try {
    for await (const { value, skipped } of following.feed) yield { ...value, skipped };
  } finally {
    following.stop();
  }
}

/** An item, but for what the reader missed. */
type Told =
  | Omit<Extract<OverviewItem, { at: "current" }>, "skipped">
  | Omit<Extract<OverviewItem, { at: "stale" }>, "skipped">;

class Following {
  readonly feed: Feed<Told> = new Feed(mostBehind);
  readonly #etcd: Etcd;
  readonly #line: Line;
  readonly #pulse: Pulse;
  readonly #everyMs: number;
  readonly #mostTerms: number;
  readonly #stopped = new AbortController();
  readonly #forgets: (() => void)[] = [];
  #meta: Meta | undefined;
  /** Whether it is known what is stored beside the line, if we may know. */
  #metaSettled = false;
  /** Why etcd does not answer. */
  #error: EtcdError | undefined;
  #toldAt = Number.NEGATIVE_INFINITY;
  #cancelTelling: CancelTimer | undefined;

  constructor(etcd: Etcd, election: string, options: FollowOptions, everyMs: number) {
    const { metaPrefix, mostTerms = defaultMostTerms, signal } = options;
    this.#etcd = etcd;
    this.#everyMs = everyMs;
    this.#mostTerms = mostTerms;
    this.#line = Line.acquire(etcd, election);
    this.#pulse = new Pulse(etcd, `${election}/`, (error) => this.#onBeat(error));
    this.#forgets.push(
      this.#line.subscribe(() => this.#changed()),
      () => this.#pulse.stop(),
      onAbort(signal, () => this.feed.end(signal?.reason)),
      onAbort(etcd.closedSignal, () => this.feed.end(etcd.closedSignal.reason)),
    );
    this.#line.sync().catch((error: unknown) => this.feed.end(namingTheRange(error, `${election}/`)));
    void followMeta(etcd, {
      ...{ whose: { election, metaPrefix }, mostTerms, signal: this.#stopped.signal },
      onMeta: (meta) => {
        this.#meta = meta;
        this.#metaSettled = true;
        this.#changed();
      },
    });
  }

  stop(): void {
    this.#stopped.abort();
    this.#cancelTelling?.();
    for (const forget of this.#forgets) forget();
    this.#line.release();
  }

  #onBeat(error: EtcdError | undefined): void {
    const turned = (error === undefined) !== (this.#error === undefined);
    this.#error = error;
    if (turned) this.#tell();
  }

  #changed(): void {
    if (this.#cancelTelling !== undefined) return;
    const { clock } = this.#etcd;
    const dueAt = this.#toldAt + this.#everyMs;
    if (clock.now() >= dueAt) this.#tell();
    else {
      this.#cancelTelling = clock.at(dueAt, () => {
        this.#cancelTelling = undefined;
        this.#tell();
      });
    }
  }

  #tell(): void {
    const overview = this.#overview();
    const error = this.#error;
    if (error === undefined && overview === undefined) return;
    this.#toldAt = this.#etcd.clock.now();
    if (error !== undefined) {
      this.feed.push({ at: "stale", error, overview, answeredAt: this.#pulse.answeredAt });
    } else if (overview !== undefined) this.feed.push({ at: "current", overview });
  }

  #overview(): Overview | undefined {
    const { election, candidates, revision, synced } = this.#line;
    if (!this.#metaSettled || (!synced && revision === 0n)) return undefined;
    return overviewOf({
      ...{ election, line: candidates, meta: this.#meta, mostTerms: this.#mostTerms, revision },
    });
  }
}
