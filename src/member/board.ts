import { metaFolder } from "../concurrency/naming.ts";
import { toText } from "../etcd/bytes.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import type { EtcdError } from "../etcd/failure.ts";
import { Event_EventType } from "../etcd/gen/etcd_pb.ts";
import { followPrefix } from "../etcd/prefix-following.ts";
import type { WatchEvents } from "../etcd/watch.ts";
import { handoverKey, pauseKey } from "../steering/names.ts";
import { type HandoverRequest, requestIn } from "../steering/request.ts";
import { priorityIn, survey } from "../steering/survey.ts";
import { detailsPrefix, parseDetails } from "./details.ts";

export interface BoardOptions {
  readonly etcd: Etcd;
  readonly election: string;
  readonly metaPrefix: string;
  /** Called after every change. */
  readonly onChanged: () => void;
  /** etcd lets us read none of it. */
  readonly onRefused: (error: EtcdError) => void;
}

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
  #follow(): Promise<void> {
    const { etcd, election, metaPrefix, onChanged, onRefused } = this.#options;
    return followPrefix(etcd, {
      ...{ prefix: metaFolder(election, metaPrefix), signal: this.#closed.signal },
      read: (limits) => this.#read(limits),
      onEvents: (events) => {
        if (this.#apply(events)) onChanged();
      },
      onDenied: onRefused,
    });
  }

  async #read(limits: CallOptions): Promise<bigint> {
    const { etcd, election, metaPrefix } = this.#options;
    const seen = await survey(etcd, election, metaPrefix, limits);
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
