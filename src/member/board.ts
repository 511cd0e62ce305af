import { metaFolder } from "../concurrency/naming.ts";
import { toText } from "../etcd/bytes.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { Event_EventType } from "../etcd/gen/etcd_pb.ts";
import type { WatchEvents } from "../etcd/watch.ts";
import type { Logger } from "../log.ts";
import { handoverKey, pauseKey } from "../steering/names.ts";
import { type HandoverRequest, requestIn } from "../steering/request.ts";
import { priorityIn, survey } from "../steering/survey.ts";
import { backoffMs, sleep } from "../waiting.ts";
import { detailsPrefix, parseDetails } from "./details.ts";

export interface BoardOptions {
  readonly etcd: Etcd;
  readonly logger: Logger;
  readonly election: string;
  readonly metaPrefix: string;
  /** Called after every change. */
  readonly onChanged: () => void;
  /** etcd lets us read none of it. */
  readonly onRefused: (error: EtcdError) => void;
}

/** A read takes no longer at a time. */
const readMs = 5_000;

/**
 * What steers an election: requests to the leader, the pause, the priorities. Followed by one read and one watch, and
 * only by whoever may have to act on it. It decides nothing: every step is a transaction that compares.
 */
export class Board {
  readonly #options: BoardOptions;
  readonly #closed = new AbortController();
  #settled = false;
  #paused = false;
  #request: HandoverRequest | undefined;
  /** By the lease on which key and details hang. */
  #priorities: Map<bigint, number> = new Map();

  /** It follows until `close`. */
  static open(options: BoardOptions): Board {
    const board = new Board(options);
    void board.#follow();
    return board;
  }

  private constructor(options: BoardOptions) {
    this.#options = options;
  }

  /** Whether it has been read at all. */
  get settled(): boolean {
    return this.#settled;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get request(): HandoverRequest | undefined {
    return this.#request;
  }

  /** The priority of whoever's key hangs on the lease. */
  priorityOf(leaseId: bigint): number {
    return this.#priorities.get(leaseId) ?? priorityIn({});
  }

  close(): void {
    this.#closed.abort();
  }

  /** Never rejects. */
  async #follow(): Promise<void> {
    const { etcd, election, metaPrefix, onRefused, logger } = this.#options;
    const { signal } = this.#closed;
    const key = metaFolder(election, metaPrefix);
    for (let failures = 1; !signal.aborted && !etcd.closedSignal.aborted; failures++) {
      try {
        const revision = await this.#read(signal);
        failures = 0;
        for await (const events of etcd.watch(
          { key, prefix: true, startRevision: revision + 1n },
          { signal },
        )) {
          if (this.#apply(events)) this.#options.onChanged();
        }
      } catch (error) {
        if (signal.aborted || etcd.closedSignal.aborted) return;
        const refused = error instanceof EtcdError && error.code === "PERMISSION_DENIED";
        if (refused) onRefused(error);
        else logger.debug({ error, key }, "cannot read what steers the election yet");
        const [firstMs, mostMs] = refused ? [30_000, 60_000] : [100, 5_000];
        await sleep(etcd.clock, backoffMs(etcd.clock, failures, firstMs, mostMs), signal).catch(() => {});
      }
    }
  }

  async #read(signal: AbortSignal): Promise<bigint> {
    const { etcd, election, metaPrefix } = this.#options;
    const seen = await survey(etcd, election, metaPrefix, { signal, timeoutMs: readMs });
    this.#paused = seen.pause !== undefined;
    this.#request = seen.request;
    this.#priorities = new Map([...seen.details].map(([leaseId, each]) => [leaseId, priorityIn(each)]));
    this.#settled = true;
    this.#options.onChanged();
    return seen.revision;
  }

  /** Whether any of it concerns us. */
  #apply({ events }: WatchEvents): boolean {
    const { election, metaPrefix } = this.#options;
    const members = detailsPrefix(election, metaPrefix);
    let concerned = false;
    for (const { type, kv } of events) {
      if (kv === undefined) continue;
      const key = toText(kv.key);
      const gone = type === Event_EventType.DELETE;
      if (key === pauseKey(election, metaPrefix)) this.#paused = !gone;
      else if (key === handoverKey(election, metaPrefix)) this.#request = gone ? undefined : requestIn(kv);
      else if (!key.startsWith(members)) continue;
      // Details go with their candidate, of whom the line tells.
      else if (!gone) this.#priorities.set(kv.lease, priorityIn(parseDetails(toText(kv.value))));
      concerned = true;
    }
    return concerned;
  }
}
