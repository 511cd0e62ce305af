import { toText } from "../etcd/bytes.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { Event_EventType } from "../etcd/gen/etcd_pb.ts";
import { followPrefix } from "../etcd/prefix-following.ts";
import type { WatchEvents } from "../etcd/watch.ts";
import { detailsKey, detailsPrefix, type MemberDetails, parseDetails } from "../member/details.ts";

/** Longer than this nobody waits to learn how a leader went. */
const askMs = 1_000;

export interface MemberBookOptions {
  readonly etcd: Etcd;
  readonly election: string;
  readonly metaPrefix: string;
  /** Called after every change. */
  readonly onChanged: () => void;
}

/** What the members of an election tell about themselves, followed by a read and a watch. */
export class MemberBook {
  readonly #options: MemberBookOptions;
  readonly #closed = new AbortController();
  readonly #running: Promise<void>;
  #byKey: Map<string, Partial<MemberDetails>> = new Map();
  #settled = false;
  #readable = true;

  static open(options: MemberBookOptions): MemberBook {
    return new MemberBook(options);
  }

  private constructor(options: MemberBookOptions) {
    this.#options = options;
    this.#running = this.#follow();
  }

  /** Whether it is known what the members tell, if anything. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Whether etcd lets us read it. */
  get readable(): boolean {
    return this.#readable;
  }

  of(leaseId: bigint): Partial<MemberDetails> | undefined {
    return this.#byKey.get(this.#key(leaseId));
  }

  /** Whether the details said at that revision that the member was giving its term up by plan. Never rejects. */
  async wasDraining(leaseId: bigint, revision: bigint): Promise<boolean> {
    if (!this.#readable || leaseId === 0n) return false;
    const { etcd } = this.#options;
    const limits = { revision, timeoutMs: askMs, signal: this.#closed.signal };
    try {
      const { kvs } = await etcd.range(this.#key(leaseId), limits);
      return kvs.some((kv) => parseDetails(toText(kv.value)).draining === true);
    } catch (error) {
      etcd.logger.debug({ error }, "cannot read how a leader went; taking it for a failure");
      return false;
    }
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#running;
  }

  #key(leaseId: bigint): string {
    const { election, metaPrefix } = this.#options;
    return detailsKey(election, leaseId, metaPrefix);
  }

  /** Never rejects. */
  #follow(): Promise<void> {
    const { etcd, election, metaPrefix } = this.#options;
    const prefix = detailsPrefix(election, metaPrefix);
    return followPrefix(etcd, {
      ...{ prefix, signal: this.#closed.signal },
      read: async (limits) => {
        const { kvs, header } = await etcd.range(prefix, { ...limits, prefix: true });
        this.#byKey = new Map(kvs.map((kv) => [toText(kv.key), parseDetails(toText(kv.value))]));
        this.#changed(true);
        return header?.revision ?? 0n;
      },
      onEvents: (events) => {
        this.#apply(events);
        this.#changed(true);
      },
      onDenied: (error) => {
        const message = "no right to read the members' details: addresses come from ids alone";
        if (this.#readable) etcd.logger.warn({ error, prefix }, message);
        this.#changed(false);
      },
    });
  }

  #apply({ events }: WatchEvents): void {
    for (const { type, kv } of events) {
      if (kv === undefined) continue;
      if (type === Event_EventType.DELETE) this.#byKey.delete(toText(kv.key));
      else this.#byKey.set(toText(kv.key), parseDetails(toText(kv.value)));
    }
  }

  #changed(readable: boolean): void {
    this.#readable = readable;
    this.#settled = true;
    this.#options.onChanged();
  }
}
