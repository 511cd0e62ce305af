import type { Store } from "../../src/devserver/store.ts";
import type { WatchStream } from "../../src/devserver/watch-stream.ts";
import { prefixEnd, toBytes, toText } from "../../src/etcd/bytes.ts";
import { Event_EventType, type KeyValue, type WatchResponse } from "../../src/etcd/gen/etcd_pb.ts";
import { byCreation } from "../../src/etcd/ops.ts";
import type { Host } from "./host.ts";

/** Who changes the store: a process, an operator, a restore, or etcd itself when a lease is over. */
export type Actor = Host | "operator" | "restore" | "etcd";

/** A key of the election as it truly is. */
export interface TrueKey {
  readonly key: string;
  readonly value: string;
  readonly token: bigint;
  readonly lease: bigint;
  readonly history: number;
}

/** How a key ceased to be what its owner put. */
export interface Removal {
  readonly key: TrueKey;
  readonly at: number;
  readonly by: Actor;
  readonly revision: bigint;
}

/** What is so in etcd, at every moment, whatever anybody may believe. */
export class Truth {
  readonly election: string;
  readonly #now: () => number;
  /** Counts restores. */
  history = 0;
  restoredAt: number = Number.NEGATIVE_INFINITY;
  actor: Actor = "etcd";
  /** Every leader there ever was, in order. */
  readonly leaders: TrueKey[] = [];
  onRemoved: (removal: Removal) => void = () => {};
  /** Told of each value; `created` with the first one of a key. */
  onPut: (key: TrueKey, created: boolean) => void = () => {};
  #keys = new Map<string, TrueKey>();
  #line: readonly TrueKey[] | undefined;
  readonly #removals = new Map<string, Removal>();
  readonly #leading = new Set<string>();
  /** The line as it was from a revision on, oldest first, in this history. */
  #lines: { readonly revision: bigint; readonly tokens: string }[] = [];
  readonly #puts = new Map<string, number>();
  #stream: WatchStream | undefined;

  constructor(election: string, now: () => number) {
    this.election = election;
    this.#now = now;
  }

  /** Runs what somebody does to the store. */
  as<T>(actor: Actor, task: () => T): T {
    const before = this.actor;
    this.actor = actor;
    try {
      return task();
    } finally {
      this.actor = before;
    }
  }

  /** The line of succession. */
  get line(): readonly TrueKey[] {
    this.#line ??= [...this.#keys.values()].sort((a, b) =>
      a.token !== b.token ? (a.token < b.token ? -1 : 1) : a.key < b.key ? -1 : 1,
    );
    return this.#line;
  }

  get(key: string): TrueKey | undefined {
    return this.#keys.get(key);
  }

  removal(key: string, token: bigint): Removal | undefined {
    return this.#removals.get(`${key}@${token}`);
  }

  /** Whether the key was ever the first of the line. */
  everLed(key: string, token: bigint): boolean {
    return this.#leading.has(`${key}@${token}`);
  }

  /** How many keys of this name there have been. */
  puts(key: string): number {
    return this.#puts.get(key) ?? 0;
  }

  /** The tokens of the line as it was at a revision of this history. */
  lineAt(revision: bigint): string {
    return this.#lines.findLast((each) => each.revision <= revision)?.tokens ?? "";
  }

  /** Follows a store: the first one, or one that was restored. */
  follow(store: Store): void {
    this.#stream?.close();
    const prefix = `${this.election}/`;
    const { kvs } = store.range(byCreation(prefix));
    const before = this.#keys;
    this.#keys = new Map(kvs.map((kv) => this.#key(kv)).map((key) => [key.key, key]));
    this.#line = undefined;
    for (const key of before.values()) {
      const now = this.#keys.get(key.key);
      if (now?.token !== key.token || now.lease !== key.lease) this.#remove(key, 0n);
    }
    this.#lines = [];
    this.#noteLine(0n);
    this.#stream = store.watch({
      send: (response) => this.#apply(response),
      end: () => {},
    });
    this.#stream.create({
      $typeName: "etcdserverpb.WatchCreateRequest",
      key: toBytes(prefix),
      rangeEnd: prefixEnd(prefix),
      startRevision: 0n,
      progressNotify: false,
      filters: [],
      prevKv: false,
      watchId: 0n,
      fragment: false,
    });
  }

  /** The store went back. */
  restored(store: Store): void {
    this.history++;
    this.restoredAt = this.#now();
    // A key that is back is not gone.
    this.as("restore", () => this.follow(store));
    for (const key of this.#keys.values()) this.#removals.delete(`${key.key}@${key.token}`);
  }

  #apply({ events }: WatchResponse): void {
    if (events.length === 0) return;
    for (const { type, kv } of events) {
      if (kv === undefined) continue;
      const name = toText(kv.key);
      const before = this.#keys.get(name);
      if (type === Event_EventType.DELETE) {
        this.#keys.delete(name);
        if (before !== undefined) this.#remove(before, kv.modRevision);
      } else {
        const now = this.#key(kv);
        this.#keys.set(name, now);
        const created = before?.token !== now.token;
        if (created) this.#puts.set(name, this.puts(name) + 1);
        if (before !== undefined && (before.token !== now.token || before.lease !== now.lease)) {
          this.#remove(before, kv.modRevision);
        }
        this.onPut(now, created);
      }
    }
    this.#line = undefined;
    this.#noteLine(events.at(-1)?.kv?.modRevision ?? 0n);
  }

  #remove(key: TrueKey, revision: bigint): void {
    const removal = { key, at: this.#now(), by: this.actor, revision };
    this.#removals.set(`${key.key}@${key.token}`, removal);
    this.onRemoved(removal);
  }

  #noteLine(revision: bigint): void {
    this.#lines.push({ revision, tokens: this.line.map(({ token }) => token).join(" ") });
    const first = this.line[0];
    if (first === undefined) return;
    this.#leading.add(`${first.key}@${first.token}`);
    const last = this.leaders.at(-1);
    if (last?.key === first.key && last.token === first.token && last.history === first.history) return;
    this.leaders.push(first);
  }

  #key(kv: KeyValue): TrueKey {
    return {
      key: toText(kv.key),
      value: toText(kv.value),
      token: kv.createRevision,
      lease: kv.lease,
      history: this.history,
    };
  }
}
