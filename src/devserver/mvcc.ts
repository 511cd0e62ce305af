import { contains, type KeyRange, type KeyText, keyText } from "./key-range.ts";
import { refusals } from "./status-error.ts";

/** What a key was from one revision on; never changed once stored. */
export interface Version {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  /** How often the key was put since it was created; 0 marks its deletion. */
  readonly version: bigint;
  readonly lease: bigint;
}

/** One change of one key. */
export interface Change {
  readonly text: KeyText;
  readonly now: Version;
  /** What the change replaced, as far as it is still stored. */
  readonly before: Version | undefined;
}

/** The whole of an `Mvcc` at one moment. */
export interface MvccSnapshot {
  readonly revision: bigint;
  readonly compactRevision: bigint;
  readonly histories: ReadonlyMap<KeyText, readonly Version[]>;
  readonly log: readonly Change[];
}

const noValue: Uint8Array = new Uint8Array(0);
const isLive = (version: Version | undefined): version is Version =>
  version !== undefined && version.version > 0n;

/** Every key with its history. Knows nothing of requests, leases and watches. */
export class Mvcc {
  #revision: bigint;
  #compactRevision: bigint;
  #histories = new Map<KeyText, Version[]>();
  /** The keys of `#histories` in their order, for ranges. */
  #order: KeyText[] = [];
  /** Every change since the compaction, oldest first, for watches that start in the past. */
  #log: Change[] = [];

  /** Starts empty. A first revision above 1 counts as compacted, so that nobody takes it for a gapless history. */
  constructor(firstRevision: bigint) {
    this.#revision = firstRevision;
    this.#compactRevision = firstRevision > 1n ? firstRevision : -1n;
  }

  get revision(): bigint {
    return this.#revision;
  }

  /** The oldest revision that can be read; -1 while nothing was compacted, as inside etcd. */
  get compactRevision(): bigint {
    return this.#compactRevision;
  }

  /** The living keys of `range` at `revision`, in key order. */
  read(range: KeyRange, revision: bigint): Version[] {
    const found: Version[] = [];
    for (let index = this.#position(range.from); index < this.#order.length; index++) {
      const text = this.#order[index] as KeyText;
      if (!contains(range, text)) break;
      const version = versionAt(this.#histories.get(text), revision);
      if (isLive(version)) found.push(version);
    }
    return found;
  }

  /** The key at `revision`, if it lives then. */
  get(text: KeyText, revision: bigint): Version | undefined {
    const version = versionAt(this.#histories.get(text), revision);
    return isLive(version) ? version : undefined;
  }

  /** Begins a write: all its changes get one revision, and none is made unless something is written. */
  write(): MvccWrite {
    return new MvccWrite(this);
  }

  /** The changes from `revision` on, oldest first. */
  changesSince(revision: bigint): readonly Change[] {
    let low = 0;
    let high = this.#log.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#log[middle] as Change).now.modRevision < revision) low = middle + 1;
      else high = middle;
    }
    return this.#log.slice(low);
  }

  /** Forgets what no read at `revision` or later can see. */
  compact(revision: bigint): void {
    if (revision <= this.#compactRevision) throw refusals.compacted();
    if (revision > this.#revision) throw refusals.futureRevision();
    this.#compactRevision = revision;
    for (const [text, history] of this.#histories) {
      const kept = history.filter(
        (version, index) =>
          version.modRevision > revision ||
          (isLive(version) && (history[index + 1]?.modRevision ?? revision + 1n) > revision),
      );
      if (kept.length > 0) this.#histories.set(text, kept);
      else this.#histories.delete(text);
    }
    this.#order = this.#order.filter((text) => this.#histories.has(text));
    this.#log = this.#log.filter(({ now }) => now.modRevision >= revision);
  }

  snapshot(): MvccSnapshot {
    return {
      revision: this.#revision,
      compactRevision: this.#compactRevision,
      histories: new Map(Array.from(this.#histories, ([text, history]) => [text, [...history]])),
      log: [...this.#log],
    };
  }

  restore(snapshot: MvccSnapshot): void {
    this.#revision = snapshot.revision;
    this.#compactRevision = snapshot.compactRevision;
    this.#histories = new Map(Array.from(snapshot.histories, ([text, history]) => [text, [...history]]));
    this.#order = [...this.#histories.keys()].sort((a, b) => (a < b ? -1 : 1));
    this.#log = [...snapshot.log];
  }

  /** @internal Stores one version; for `MvccWrite` alone. */
  append(text: KeyText, version: Version): void {
    const history = this.#histories.get(text);
    if (history !== undefined) {
      history.push(version);
    } else {
      this.#histories.set(text, [version]);
      this.#order.splice(this.#position(text), 0, text);
    }
  }

  /** @internal Makes a write's revision the current one; for `MvccWrite` alone. */
  advance(changes: readonly Change[]): void {
    this.#revision += 1n;
    this.#log.push(...changes);
  }

  /** The index of the first key that is not below `text`. */
  #position(text: KeyText): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#order[middle] as KeyText) < text) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * A write that is under way. It cannot be taken back, so whatever may refuse a request
 * is asked before its first change.
 */
export class MvccWrite {
  readonly changes: Change[] = [];
  readonly #store: Mvcc;
  readonly #next: bigint;

  constructor(store: Mvcc) {
    this.#store = store;
    this.#next = store.revision + 1n;
  }

  /** The revision that a read within this write sees: the next one as soon as something was written. */
  get revision(): bigint {
    return this.changes.length > 0 ? this.#next : this.#next - 1n;
  }

  put(key: Uint8Array, value: Uint8Array, lease: bigint): Change {
    const text = keyText(key);
    const before = this.#store.get(text, this.#next);
    return this.#change(text, before, {
      // Copies: the caller may use its buffers again, and a slice of a big message would keep all of it.
      key: new Uint8Array(key),
      value: new Uint8Array(value),
      createRevision: before?.createRevision ?? this.#next,
      modRevision: this.#next,
      version: (before?.version ?? 0n) + 1n,
      lease,
    });
  }

  /** Deletes the living keys of `range`, in key order. */
  deleteRange(range: KeyRange): Change[] {
    return this.#store.read(range, this.#next).map((before) =>
      this.#change(keyText(before.key), before, {
        key: before.key,
        value: noValue,
        createRevision: 0n,
        modRevision: this.#next,
        version: 0n,
        lease: 0n,
      }),
    );
  }

  /** Ends the write; what it changed, in order. */
  commit(): readonly Change[] {
    if (this.changes.length > 0) this.#store.advance(this.changes);
    return this.changes;
  }

  #change(text: KeyText, before: Version | undefined, now: Version): Change {
    const change = { text, now, before };
    this.#store.append(text, now);
    this.changes.push(change);
    return change;
  }
}

function versionAt(history: readonly Version[] | undefined, revision: bigint): Version | undefined {
  return history?.findLast((version) => version.modRevision <= revision);
}
