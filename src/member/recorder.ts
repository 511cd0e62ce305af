import type { CancelTimer } from "../clock.ts";
import type { Candidacy } from "../concurrency/candidacy.ts";
import type { Line } from "../concurrency/line.ts";
import { leaseName } from "../concurrency/naming.ts";
import { type Cause, closedError } from "../errors.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { LinkedSignal } from "../etcd/linked-signal.ts";
import type { Logger } from "../log.ts";
import { backoffMs, sleep, unlessAborted } from "../waiting.ts";
import type { CheckedSettings } from "./options.ts";
import { settleRecords } from "./record-settling.ts";
import { type RecordFields, TermLog } from "./term-log.ts";
import type { StoredRecord } from "./term-record.ts";
import { TermsSeen } from "./terms-seen.ts";

export interface RecorderSurroundings {
  readonly etcd: Etcd;
  readonly logger: Logger;
  readonly settings: CheckedSettings;
  readonly line: Line;
  /** The newest candidacy, ended or not. */
  readonly candidacy: () => Candidacy | undefined;
}

/**
 * When the leader, the first and the second in waiting look whether the records are complete: whoever writes his own has
 * done it by then, and it is enough if one of them does it for those who do not.
 */
const lookMs = [1_000, 2_000, 4_000] as const;
/** Leaving does not wait longer than this for the last record. */
const settleMs = 1_000;
/** A write that is answered at all is answered by then. */
const slowMs = 100;

/** What repeating does not help against. */
const refusals: ReadonlySet<string> = new Set(["PERMISSION_DENIED", "ETCD_REFUSED", "AUTH_FAILED"]);

/**
 * A member's part in the history of its election: it writes when its own terms begin and end, and sees to it that those
 * of others, who died or are no members of ours, are recorded too. Nothing waits for that, and failing hurts nobody.
 */
export class Recorder {
  readonly #of: RecorderSurroundings;
  readonly #log: TermLog;
  readonly #seen: TermsSeen;
  /** The member is leaving. */
  readonly #leaving = new AbortController();
  /** It has left. */
  readonly #stopped = new AbortController();
  /** The newest own term. */
  #own: { readonly token: bigint; fields: RecordFields; stored: StoredRecord | undefined } | undefined;
  #endKnown: Promise<void> = Promise.resolve();
  /** One write after another. */
  #tail: Promise<void> = Promise.resolve();
  #try: { readonly over: LinkedSignal; readonly since: number } | undefined;
  #cancelLook: CancelTimer = () => {};

  constructor(of: RecorderSurroundings) {
    const { etcd, settings } = of;
    const { election, metaPrefix } = settings;
    this.#of = of;
    this.#seen = new TermsSeen(etcd.clock);
    const signal = (): AbortSignal => this.#try?.over.signal ?? this.#stopped.signal;
    this.#log = new TermLog({ etcd, election, metaPrefix, signal });
  }

  /** The line may have changed. */
  lineChanged(): void {
    const { line } = this.#of;
    if (line.synced && this.#seen.see(line.leader)) this.#lookLater();
  }

  /** The own key stands in the line. */
  joined(): void {
    this.#lookLater();
  }

  /** An own term has begun. */
  begun({ token, leaseId }: Candidacy): void {
    // Whose end made room has been told to nobody yet but us.
    this.lineChanged();
    const { etcd, settings } = this.#of;
    const { zone } = settings.details;
    const gapMs = this.#seen.of(token)?.gapMs;
    this.#tell(token, {
      leader: settings.id,
      ...(zone === undefined ? {} : { zone }),
      leaseId: leaseName(leaseId),
      startedAt: etcd.clock.date().toISOString(),
      ...(gapMs === undefined ? {} : { gapMs }),
    });
  }

  /** The newest own term has ended. */
  ended(cause: Cause): void {
    if (this.#own === undefined) return;
    const { token } = this.#own;
    const endedAt = this.#of.etcd.clock.date().toISOString();
    if (cause !== "key-gone") this.#tell(token, { endedAt, cause });
    else this.#endKnown = this.#whyKeyGone().then((why) => this.#tell(token, { endedAt, cause: why }));
  }

  /** Resolves when the lease of the newest own term is not needed any more to tell how that ended. Never rejects. */
  get endKnown(): Promise<void> {
    return this.#endKnown;
  }

  /** Looks after no more. Resolves when what is under way has been written, within a second. Never rejects. */
  async settled(): Promise<void> {
    const { clock } = this.#of.etcd;
    this.#cancelLook();
    this.#leaving.abort();
    // One that has waited for so long is better begun anew.
    if (this.#try !== undefined && clock.now() - this.#try.since > slowMs) {
      this.#try.over.abort(closedError("the member"));
    }
    const cancel = clock.at(clock.now() + settleMs, () => this.stop());
    const told = this.#endKnown.then(() => this.#tail);
    await unlessAborted(told, this.#stopped.signal).catch(() => {});
    cancel();
  }

  /** Writes no more. */
  stop(): void {
    this.#cancelLook();
    this.#leaving.abort();
    this.#stopped.abort(closedError("the member"));
  }

  /** A lease that somebody ends takes its keys along, and the line tells of the key alone. */
  async #whyKeyGone(): Promise<Cause> {
    try {
      return (await this.#log.stands(this.#of.candidacy()?.leaseId ?? 0n)) ? "key-gone" : "lease-gone";
    } catch (error) {
      this.#of.logger.debug({ error }, "cannot ask whether the lease has gone with the key");
      return "key-gone";
    }
  }

  /** The own word goes before whatever others have written. */
  #tell(token: bigint, fields: RecordFields): void {
    const before = this.#own?.token === token ? this.#own : undefined;
    const own = before ?? { token, fields: {}, stored: undefined };
    own.fields = { ...own.fields, ...fields };
    this.#own = own;
    this.#enqueue(async () => {
      own.stored = await this.#log.write(token, own.stored, (stored) => ({ ...stored?.json, ...own.fields }));
    });
  }

  #lookLater(stage: number = 0, since: number = this.#of.etcd.clock.now()): void {
    this.#cancelLook();
    const { clock } = this.#of.etcd;
    const ms = lookMs[stage];
    if (ms === undefined || this.#leaving.signal.aborted || this.#place() >= lookMs.length) return;
    this.#cancelLook = clock.at(since + ms, () => {
      const place = this.#place();
      if (place < 0 || place > stage) this.#lookLater(stage + 1, since);
      else this.#enqueue(() => this.#settle());
    });
  }

  /** How many stand before the own key; -1 where there is none. */
  #place(): number {
    const candidacy = this.#of.candidacy();
    if (candidacy === undefined || candidacy.endCause !== undefined) return -1;
    const { token } = candidacy;
    return this.#of.line.candidates.findIndex((each) => each.token === token);
  }

  async #settle(): Promise<void> {
    const { etcd, line } = this.#of;
    const { leader } = line;
    if (leader === undefined) return;
    const own = this.#own;
    // A first one that has not begun to lead may never do so.
    const isFirst = this.#of.candidacy()?.token === leader.token;
    const gapMs = await settleRecords({
      ...{ log: this.#log, seen: this.#seen.all, leader: leader.token },
      ...{ own: isFirst ? leader.token : own?.token, now: etcd.clock.date() },
    });
    this.#seen.forgetBefore(leader.token);
    if (own?.token !== leader.token) return;
    // Where the end before was not seen, two clocks must do.
    const { gapMs: told } = own.fields;
    if (gapMs !== undefined && told === undefined) this.#tell(own.token, { gapMs });
    await this.#log.prune();
  }

  #enqueue(task: () => Promise<void>): void {
    this.#tail = this.#tail.then(() => this.#persist(task));
  }

  /** Repeats it until it is done or refused; while the member leaves one try is left. Never rejects. */
  async #persist(task: () => Promise<void>): Promise<void> {
    const { etcd, logger } = this.#of;
    const { clock, closedSignal } = etcd;
    for (let failures = 1; !this.#stopped.signal.aborted && !closedSignal.aborted; failures++) {
      const isLast = this.#leaving.signal.aborted;
      this.#try = { over: new LinkedSignal(this.#stopped.signal), since: clock.now() };
      try {
        await task();
        return;
      } catch (error) {
        logger.debug({ error }, "could not record a term");
        if (isLast || (error instanceof EtcdError && refusals.has(error.code))) return;
      } finally {
        this.#try.over.release();
      }
      await sleep(clock, backoffMs(clock, failures, 200, 5_000), this.#leaving.signal).catch(() => {});
    }
  }
}
