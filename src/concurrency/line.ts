import { closedError } from "../errors.ts";
import { toBytes, toText } from "../etcd/bytes.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { Event_EventType, type KeyValue, KV } from "../etcd/gen/etcd_pb.ts";
import { byCreation, kvsOf, rangeOp } from "../etcd/ops.ts";
import type { Watch, WatchEvents, Watcher } from "../etcd/watch.ts";
import { backoffMs, onAbort, sleep } from "../waiting.ts";
import { Audit, type Audited, type Enrolled, type Question } from "./audit.ts";
import { attemptTimeoutMs, renewalPeriodMs } from "./deadline.ts";

/** A candidate: a key in the line. */
export interface Candidate {
  /** The value as text: the member's id. */
  readonly id: string;
  /** The value, bytes untouched. */
  readonly value: Uint8Array;
  readonly key: string;
  /** The fencing token of the term that this candidate has or will have: its key's create revision. */
  readonly token: bigint;
  /** The revision at which this was last changed. */
  readonly revision: bigint;
  /** The lease that the key hangs on; 0 if none. */
  readonly leaseId: bigint;
}

/** One of this process's own candidates, as the line sees it. */
export interface OwnCandidate {
  readonly key: string;
  readonly token: bigint;
  readonly leaseId: bigint;
  readonly ttlMs: number;
  /** The line has changed, by a whole revision or by a new read. */
  lineChanged(): void;
  /** A linearizable read sent at `sentAt` found the key with its lease and create revision. */
  keySeen(sentAt: number): void;
  /** A linearizable read did not find it. */
  keyMissing(): void;
  /** What was read cannot follow what was known. */
  storeWentBack(): void;
  /** The read found it, and, no older than the view, a candidate that was created before it. */
  keySeenBehind(sentAt: number): void;
}

/** Somebody who acts on who leads, for as long as that is confirmed. */
interface Relier {
  readonly withinMs: number;
  readonly onConfirmed: () => void;
}

/** How many own keys are read one by one; the rest of the transaction is for other elections. */
const mostKeys = 50;

/** An answer may take so long on a busy machine, however little patience somebody has. */
const leastAttemptMs = 250;

/** How often the line is compared with etcd where nobody of this process stands in it. */
const observerPeriodMs = 10_000;

/**
 * The line of succession of one election, as this process sees it: one read and one watch, shared by everybody in the
 * process who stands in the election or observes it. Candidates are sorted by create revision; the first one leads.
 */
export class Line implements Audited {
  readonly election: string;
  readonly #etcd: Etcd;
  readonly #shared: Shared;
  readonly #own: Set<OwnCandidate> = new Set();
  readonly #subscribers: Set<() => void> = new Set();
  readonly #reliers: Set<Relier> = new Set();
  #users = 0;
  #candidates: readonly Candidate[] = [];
  #revision = 0n;
  #synced = false;
  #syncing: Promise<void> | undefined;
  #watch: Watch | undefined;
  #audit: Enrolled | undefined;
  #confirmedAt = Number.NEGATIVE_INFINITY;
  /** How many reads in a row showed another leader than this view. */
  #mismatches = 0;
  /** How often the view was given up since a read last agreed with it. */
  #restarts = 0;
  #watchResumes = 0;
  #forgetRestored: () => void = () => {};
  /** Aborts when the last user has left. */
  readonly #left = new AbortController();

  private constructor(election: string, shared: Shared) {
    this.election = election;
    this.#etcd = shared.etcd;
    this.#shared = shared;
  }

  /** The process's line for an election; every `acquire` wants its `release`. */
  static acquire(etcd: Etcd, election: string): Line {
    const shared = Shared.of(etcd);
    let line = shared.lines.get(election);
    if (line === undefined) {
      line = new Line(election, shared);
      shared.lines.set(election, line);
      const opened = line;
      line.#forgetRestored = etcd.onRestored(() => opened.#restart());
      line.#audit = shared.audit.add(line);
    }
    line.#users++;
    return line;
  }

  release(): void {
    if (--this.#users > 0) return;
    this.#shared.lines.delete(this.election);
    this.#left.abort(closedError("the line"));
    this.#watch?.close();
    this.#audit?.remove();
    this.#forgetRestored();
  }

  /** The candidates, the leader first. */
  get candidates(): readonly Candidate[] {
    return this.#candidates;
  }

  get leader(): Candidate | undefined {
    return this.#candidates[0];
  }

  /** The revision that the view has reached. */
  get revision(): bigint {
    return this.#revision;
  }

  /** How often following went on after a break, by another watch or by another read. */
  get watchResumes(): number {
    return this.#watchResumes;
  }

  /** Whether the view has been read at all. */
  get synced(): boolean {
    return this.#synced;
  }

  /** The instant for which the leader shown was last confirmed by a linearizable read. */
  get confirmedAt(): number {
    return this.#confirmedAt;
  }

  /** How long after `confirmedAt` the leader shown may be taken for the leader: two reads may fail. */
  get trustMs(): number {
    return this.#own.size === 0 ? 3 * observerPeriodMs : Math.max(...[...this.#own].map((own) => own.ttlMs));
  }

  /** The candidate of the view that is this one, by key, create revision and lease. */
  find({ key, token, leaseId }: OwnCandidate): Candidate | undefined {
    return this.#candidates.find(
      (each) => each.token === token && each.key === key && each.leaseId === leaseId,
    );
  }

  /** Calls `listener` after every change, when the own candidates have been told. */
  subscribe(listener: () => void): () => void {
    this.#subscribers.add(listener);
    return () => this.#subscribers.delete(listener);
  }

  /** Registers one of this process's candidates. */
  enter(own: OwnCandidate): () => void {
    this.#own.add(own);
    this.#audit?.periodChanged();
    return () => this.#own.delete(own);
  }

  /**
   * Has the leader shown confirmed so often that a read may fail twice within `withinMs`; `onConfirmed` is called after
   * each time. For somebody who acts on who leads without standing in the line.
   */
  rely(withinMs: number, onConfirmed: () => void): () => void {
    const relier = { withinMs, onConfirmed };
    this.#reliers.add(relier);
    this.#audit?.periodChanged();
    return () => this.#reliers.delete(relier);
  }

  /** Sees to it that the line is read, now or as soon as etcd answers. */
  follow(): void {
    void this.#readAgain(0);
  }

  /** Reads the line unless that has been done. Rejects only with what retrying cannot help. */
  sync(): Promise<void> {
    if (this.#synced) return Promise.resolve();
    this.#syncing ??= this.#read().finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  /** Takes over what a transaction read, if nothing is known yet: joining costs one round trip. */
  seed(kvs: readonly KeyValue[], revision: bigint, sentAt: number): void {
    if (this.#users === 0) return;
    if (this.#synced) {
      if (!this.#contradicts(kvs, revision)) {
        if (kvs[0]?.createRevision !== this.leader?.token) return;
        this.#confirmedAt = sentAt;
        this.#confirmed();
        return;
      }
      const { election } = this;
      this.#etcd.logger.error(
        { election, revision },
        "the view lacks a candidate that a read shows; taking the read anew",
      );
      this.#watch?.close();
    }
    this.#synced = true;
    this.#revision = revision;
    this.#candidates = kvs.map(candidate).sort(byToken);
    this.#confirmedAt = sentAt;
    this.#mismatches = 0;
    this.#watch = this.#shared.watcher.open(
      { key: `${this.election}/`, prefix: true, startRevision: revision + 1n },
      {
        events: (batch) => this.#apply(batch),
        canceled: (error) => {
          this.#etcd.logger.warn(
            { election: this.election, error },
            "the watch was canceled; reading the line anew",
          );
          this.#restart();
        },
        resumed: () => {
          this.#watchResumes++;
        },
      },
    );
    this.#changed();
    this.#confirmed();
  }

  periodMs(): number {
    const ttls = this.#patience();
    return ttls.length === 0
      ? observerPeriodMs * (0.9 + this.#etcd.clock.random() * 0.2)
      : renewalPeriodMs(Math.min(...ttls), this.#etcd.clock.random());
  }

  attemptTimeoutMs(): number {
    const ttls = [...this.#own].map((own) => attemptTimeoutMs(own.ttlMs));
    // Where there is only one endpoint nothing is gained by giving up an answer that is on its way.
    const share = this.#etcd.endpoints.length > 1 ? 6 : 3;
    const withins = [...this.#reliers].map(({ withinMs }) => Math.max(leastAttemptMs, withinMs / share));
    return Math.min(this.#etcd.attemptTimeoutMs, ...ttls, ...withins);
  }

  /** For how long each of those who need reads can do without one. */
  #patience(): readonly number[] {
    const ttls = [...this.#own].map((own) => own.ttlMs);
    return [...ttls, ...[...this.#reliers].map(({ withinMs }) => withinMs)];
  }

  question(): Question {
    const own = [...this.#own];
    const known = this.#revision;
    const leader = rangeOp({ ...byCreation(`${this.election}/`, 1), keysOnly: true });
    const keys = own.map(({ key }) => rangeOp({ key: toBytes(key), keysOnly: true }));
    // Beyond that the keys are no smaller than the line.
    const all = [rangeOp({ ...byCreation(`${this.election}/`), keysOnly: true })];
    return {
      ops: own.length > mostKeys ? all : [leader, ...keys],
      answered: (responses, revision, sentAt) => {
        const kvs = responses.flatMap(kvsOf);
        const first = kvs[0]?.createRevision;
        this.#compare(kvs[0], revision, known, sentAt);
        const seen = new Map(kvs.map((kv) => [toText(kv.key), kv]));
        for (const each of own) {
          if (!this.#own.has(each)) continue;
          const kv = seen.get(each.key);
          // In one history a key is never found with an older create revision than it had; and one that somebody put
          // anew without our lease would outlive us: it is not ours any more.
          if (kv !== undefined && kv.createRevision < each.token) each.storeWentBack();
          else if (kv?.createRevision !== each.token || kv.lease !== each.leaseId) each.keyMissing();
          else if (first !== undefined && first < each.token && revision >= this.#revision)
            each.keySeenBehind(sentAt);
          else each.keySeen(sentAt);
        }
      },
    };
  }

  /**
   * Whether a read shows what cannot be: a candidate that was created before the revision which the view has reached, is
   * there at a later one, and is not in the view. Events were lost, or the store went back and no answer showed it.
   */
  #contradicts(kvs: readonly KeyValue[], revision: bigint): boolean {
    if (revision < this.#revision) return false;
    const known = new Set(this.#candidates.map(({ token }) => token));
    return kvs.some(({ createRevision }) => createRevision <= this.#revision && !known.has(createRevision));
  }

  /** Holds the view against a linearizable read of the leader, sent when the view had reached `known`. */
  #compare(leader: KeyValue | undefined, revision: bigint, known: bigint, sentAt: number): void {
    if (!this.#synced) return;
    const { election } = this;
    if (revision < known) {
      this.#etcd.logger.error({ election, known, revision }, "etcd's store went back; reading the line anew");
      for (const own of [...this.#own]) own.storeWentBack();
      this.#restart();
    } else if (leader !== undefined && this.#contradicts([leader], revision)) {
      this.#etcd.logger.error({ election, revision }, "the view lacks the leader; reading the line anew");
      this.#restart();
    } else if (leader?.createRevision === this.leader?.token) {
      this.#confirmedAt = sentAt;
      this.#mismatches = 0;
      this.#restarts = 0;
      this.#confirmed();
    } else if (revision >= this.#revision) {
      // The event may be on its way; it has until the next read. A new stream loses nothing; a new read may skip leaders.
      const mismatches = ++this.#mismatches;
      if (mismatches === 1) return;
      this.#etcd.logger.warn({ election, mismatches }, "the watch missed a change; opening another");
      if (mismatches === 2) this.#shared.watcher.restart();
      else this.#restart();
    }
  }

  #confirmed(): void {
    for (const { onConfirmed } of [...this.#reliers]) onConfirmed();
  }

  async #read(): Promise<void> {
    while (this.#users > 0 && !this.#synced) {
      try {
        const request = byCreation(`${this.election}/`);
        const options = { signal: this.#left.signal, idempotent: true };
        const { response, sentAt } = await this.#etcd.call(KV.method.range, request, options);
        this.seed(response.kvs, response.header?.revision ?? 0n, sentAt);
      } catch (error) {
        if (!(error instanceof EtcdError) || error.code !== "ETCD_UNAVAILABLE") throw error;
        this.#etcd.logger.warn({ election: this.election, error }, "cannot read the line yet");
      }
    }
  }

  /** Forgets the view and reads anew, as long as it takes. */
  #restart(): void {
    this.#watchResumes++;
    this.#watch?.close();
    this.#watch = undefined;
    this.#synced = false;
    void this.#readAgain(this.#restarts++);
  }

  /** After a pause if reading and watching have failed before. Never rejects. */
  async #readAgain(failures: number): Promise<void> {
    const { clock, logger, closedSignal } = this.#etcd;
    const { signal } = this.#left;
    for (let tries = failures; !this.#synced && !signal.aborted && !closedSignal.aborted; tries++) {
      if (tries > 0) await sleep(clock, backoffMs(clock, tries, 100, 5_000), signal).catch(() => {});
      try {
        await this.sync();
      } catch (error) {
        if (signal.aborted || closedSignal.aborted) return;
        logger.error({ election: this.election, error }, "cannot read the line");
      }
    }
  }

  /** A whole revision, so that two keys deleted together are never seen one without the other. */
  #apply({ revision, events }: WatchEvents): void {
    const byKey = new Map(this.#candidates.map((each) => [each.key, each]));
    for (const { type, kv } of events) {
      if (kv === undefined) continue;
      if (type === Event_EventType.DELETE) byKey.delete(toText(kv.key));
      else byKey.set(toText(kv.key), candidate(kv));
    }
    this.#candidates = [...byKey.values()].sort(byToken);
    this.#revision = revision;
    this.#changed();
  }

  #changed(): void {
    // Whoever has lost must know before anybody is told of the successor, also where both are in this process.
    const own = [...this.#own];
    const standing = new Set(own.filter((each) => this.find(each) !== undefined));
    for (const each of own) if (!standing.has(each)) each.lineChanged();
    for (const each of standing) each.lineChanged();
    for (const listener of [...this.#subscribers]) listener();
  }
}

/** What all lines of one client share. */
class Shared {
  static readonly #byClient: WeakMap<Etcd, Shared> = new WeakMap();
  readonly etcd: Etcd;
  readonly lines: Map<string, Line> = new Map();
  readonly audit: Audit;
  /** A stream of its own: the events of an election never queue behind those of the user's watches. */
  readonly watcher: Watcher;

  private constructor(etcd: Etcd) {
    this.etcd = etcd;
    this.audit = new Audit(etcd);
    this.watcher = etcd.openWatcher();
    onAbort(etcd.closedSignal, () => {
      this.watcher.close();
      this.audit.close();
    });
  }

  static of(etcd: Etcd): Shared {
    const known = Shared.#byClient.get(etcd);
    if (known !== undefined) return known;
    const made = new Shared(etcd);
    Shared.#byClient.set(etcd, made);
    return made;
  }
}

/** A key of the line as a candidate. */
export function candidate(kv: KeyValue): Candidate {
  return {
    id: toText(kv.value),
    value: kv.value,
    key: toText(kv.key),
    token: kv.createRevision,
    revision: kv.modRevision,
    leaseId: kv.lease,
  };
}

function byToken(a: Candidate, b: Candidate): number {
  if (a.token !== b.token) return a.token < b.token ? -1 : 1;
  // Only a transaction of somebody else's can create two keys at one revision.
  return a.key < b.key ? -1 : 1;
}
