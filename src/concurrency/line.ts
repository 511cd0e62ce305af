import { toText } from "../etcd/bytes.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { Event_EventType, type KeyValue, KV, type ResponseOp } from "../etcd/gen/etcd_pb.ts";
import { byCreation, rangeOp } from "../etcd/ops.ts";
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

/** @internal One of this process's own candidates, as the line sees it. */
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
}

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
  #users = 0;
  #candidates: readonly Candidate[] = [];
  #revision = 0n;
  #synced = false;
  #syncing: Promise<void> | undefined;
  #watch: Watch | undefined;
  #audit: Enrolled | undefined;
  #confirmedAt = Number.NEGATIVE_INFINITY;
  /** A revision by which etcd had another leader than this view; if the view never gets there, its watch is deaf. */
  #behind: bigint | undefined;
  #forgetRestored: () => void = () => {};

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
    return 3 * Math.max(...[...this.#own].map((own) => own.ttlMs / 3), this.#own.size === 0 ? observerPeriodMs : 0);
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

  /** Asks for a proof read now. */
  auditNow(): void {
    this.#audit?.now();
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
    if (this.#synced || this.#users === 0) return;
    this.#synced = true;
    this.#revision = revision;
    this.#candidates = kvs.map(candidate).sort(byToken);
    this.#confirmedAt = sentAt;
    this.#behind = undefined;
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
      },
    );
    this.#changed();
  }

  periodMs(): number {
    const ttls = [...this.#own].map((own) => own.ttlMs);
    return ttls.length === 0
      ? observerPeriodMs * (0.9 + this.#etcd.clock.random() * 0.2)
      : renewalPeriodMs(Math.min(...ttls), this.#etcd.clock.random());
  }

  attemptTimeoutMs(): number {
    const ttls = [...this.#own].map((own) => attemptTimeoutMs(own.ttlMs));
    return Math.min(this.#etcd.attemptTimeoutMs, ...ttls);
  }

  question(): Question {
    const own = [...this.#own];
    const keys = own.map(({ key }) => rangeOp({ key: new TextEncoder().encode(key), keysOnly: true }));
    return {
      ops: [rangeOp({ ...byCreation(`${this.election}/`, 1), keysOnly: true }), ...keys],
      answered: ([first, ...seen], revision, sentAt) => {
        this.#compare(kvsOf(first)[0], revision, sentAt);
        own.forEach((each, at) => {
          if (!this.#own.has(each)) return;
          const kv = kvsOf(seen[at])[0];
          // A key that somebody put anew without our lease would outlive us: it is not ours any more.
          if (kv?.createRevision === each.token && kv.lease === each.leaseId) each.keySeen(sentAt);
          else each.keyMissing();
        });
      },
    };
  }

  /** Holds the view against a linearizable read of the leader. */
  #compare(leader: KeyValue | undefined, revision: bigint, sentAt: number): void {
    if (!this.#synced) return;
    if (leader?.createRevision === this.leader?.token) {
      this.#confirmedAt = sentAt;
      this.#behind = undefined;
    } else if (this.#behind === undefined || this.#revision >= this.#behind) {
      // The event may be on its way; it has until the next read.
      this.#behind = revision;
    } else {
      this.#etcd.logger.warn({ election: this.election }, "the watch missed a change; opening another");
      this.#behind = undefined;
      this.#shared.watcher.restart();
    }
  }

  async #read(): Promise<void> {
    while (this.#users > 0 && !this.#synced) {
      try {
        const request = byCreation(`${this.election}/`);
        const { response, sentAt } = await this.#etcd.call(KV.method.range, request, { idempotent: true });
        this.seed(response.kvs, response.header?.revision ?? 0n, sentAt);
      } catch (error) {
        if (!(error instanceof EtcdError) || error.code !== "ETCD_UNAVAILABLE") throw error;
        this.#etcd.logger.warn({ election: this.election, error }, "cannot read the line yet");
      }
    }
  }

  /** Forgets the view and reads anew, as long as it takes. */
  #restart(): void {
    this.#watch?.close();
    this.#watch = undefined;
    this.#synced = false;
    void this.#readAgain();
  }

  /** Never rejects. */
  async #readAgain(): Promise<void> {
    const { clock, logger, closedSignal } = this.#etcd;
    for (let failures = 1; this.#users > 0 && !this.#synced && !closedSignal.aborted; failures++) {
      try {
        await this.sync();
      } catch (error) {
        if (closedSignal.aborted) return;
        logger.error({ election: this.election, error }, "cannot read the line");
        await sleep(clock, backoffMs(clock, failures, 100, 5_000), closedSignal).catch(() => {});
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
    // Whoever has lost must know before anybody is told of the successor.
    for (const own of [...this.#own]) own.lineChanged();
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
    onAbort(etcd.closedSignal, () => this.watcher.close());
  }

  static of(etcd: Etcd): Shared {
    const known = Shared.#byClient.get(etcd);
    if (known !== undefined) return known;
    const made = new Shared(etcd);
    Shared.#byClient.set(etcd, made);
    return made;
  }
}

/** @internal A key of the line as a candidate. */
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

function kvsOf(op: ResponseOp | undefined): readonly KeyValue[] {
  return op?.response.case === "responseRange" ? op.response.value.kvs : [];
}
