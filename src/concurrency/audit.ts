import type { CancelTimer } from "../clock.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { KV, type ResponseOp } from "../etcd/gen/etcd_pb.ts";
import type { Op } from "../etcd/ops.ts";
import { backoffMs } from "../waiting.ts";

/** A read that somebody wants repeated. */
export interface Question {
  readonly ops: readonly Op[];
  /** The answers, in the order of `ops`, all of one revision. */
  answered(responses: readonly ResponseOp[], revision: bigint, sentAt: number): void;
}

/** Somebody who wants a linearizable read once in a while. */
export interface Audited {
  /** Milliseconds to the next read. */
  periodMs(): number;
  /** Milliseconds that one endpoint has for the answer. */
  attemptTimeoutMs(): number;
  question(): Question;
}

export interface Enrolled {
  /** Takes note of a shorter period. */
  periodChanged(): void;
  remove(): void;
}

interface Entry {
  readonly audited: Audited;
  dueAt: number;
  asking: boolean;
  failures: number;
}

interface Asked {
  readonly entry: Entry;
  readonly question: Question;
}

/** etcd takes 128 operations in one transaction. */
const mostOps = 100;

/**
 * Reads that prove: what several elections of one process want to know goes into one transaction. One that has no
 * answer yet holds up nobody but those in it.
 */
export class Audit {
  readonly #etcd: Etcd;
  readonly #entries: Set<Entry> = new Set();
  #cancelTimer: CancelTimer = () => {};
  #closed = false;

  constructor(etcd: Etcd) {
    this.#etcd = etcd;
  }

  /** Starts asking for `audited`, one period from now. */
  add(audited: Audited): Enrolled {
    const entry: Entry = {
      audited,
      dueAt: this.#etcd.clock.now() + audited.periodMs(),
      asking: false,
      failures: 0,
    };
    this.#entries.add(entry);
    this.#schedule();
    return {
      periodChanged: () => {
        entry.dueAt = Math.min(entry.dueAt, this.#etcd.clock.now() + audited.periodMs());
        this.#schedule();
      },
      remove: () => {
        this.#entries.delete(entry);
        this.#schedule();
      },
    };
  }

  /** Asks no more. */
  close(): void {
    this.#closed = true;
    this.#cancelTimer();
  }

  #schedule(): void {
    this.#cancelTimer();
    if (this.#closed) return;
    let next = Number.POSITIVE_INFINITY;
    for (const entry of this.#entries) if (!entry.asking) next = Math.min(next, entry.dueAt);
    if (next === Number.POSITIVE_INFINITY) return;
    this.#cancelTimer = this.#etcd.clock.at(next, () => this.#ask());
  }

  #ask(): void {
    const now = this.#etcd.clock.now();
    let batch: Asked[] = [];
    let ops = 0;
    for (const entry of this.#entries) {
      // What is due soon may as well be asked now.
      if (entry.asking || entry.dueAt > now + entry.audited.periodMs() / 4) continue;
      const question = entry.audited.question();
      if (ops > 0 && ops + question.ops.length > mostOps) {
        void this.#send(batch);
        batch = [];
        ops = 0;
      }
      batch.push({ entry, question });
      ops += question.ops.length;
    }
    if (batch.length > 0) void this.#send(batch);
    this.#schedule();
  }

  /** Never rejects. */
  async #send(batch: readonly Asked[]): Promise<void> {
    const { clock, logger } = this.#etcd;
    for (const { entry } of batch) entry.asking = true;
    const success = batch.flatMap(({ question }) => question.ops);
    const attemptTimeoutMs = Math.min(...batch.map(({ entry }) => entry.audited.attemptTimeoutMs()));
    const timeoutMs = Math.min(...batch.map(({ entry }) => entry.audited.periodMs()));
    try {
      const options = { attemptTimeoutMs, timeoutMs, idempotent: true };
      const { response, sentAt } = await this.#etcd.call(KV.method.txn, { success }, options);
      let at = 0;
      for (const { entry, question } of batch) {
        const end = at + question.ops.length;
        entry.failures = 0;
        entry.asking = false;
        entry.dueAt = sentAt + entry.audited.periodMs();
        if (this.#entries.has(entry)) {
          question.answered(response.responses.slice(at, end), response.header?.revision ?? 0n, sentAt);
        }
        at = end;
      }
    } catch (error) {
      if (this.#closed) return;
      const refused = error instanceof EtcdError && error.code !== "ETCD_UNAVAILABLE";
      // One who has no right to his keys must not take the others' proof from them.
      if (refused && batch.length > 1) {
        for (const each of batch) void this.#send([each]);
        return;
      }
      logger.warn({ error }, "cannot read an election's keys");
      for (const { entry } of batch) {
        entry.asking = false;
        entry.dueAt = clock.now() + backoffMs(clock, ++entry.failures, 50, timeoutMs);
      }
    }
    this.#schedule();
  }
}
