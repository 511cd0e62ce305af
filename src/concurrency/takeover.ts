import type { CancelTimer } from "../clock.ts";
import { badOption } from "../errors.ts";
import { toText } from "../etcd/bytes.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { type KeyValue, KV } from "../etcd/gen/etcd_pb.ts";
import { getOp, kvsOf, type Op, putOp } from "../etcd/ops.ts";
import { provenUntil } from "./deadline.ts";
import type { Candidate } from "./line.ts";

/** Release marks take turns in so many keys: they never pile up, and one that is overwritten costs only a wait. */
const markSlots = 64n;

/** etcd takes 128 operations in one transaction; of more ends than that the oldest count as unmarked. */
const mostMarks = 100;

/** How far the clock rates of two machines may differ, as a share of the time that passes. */
const clockRateError = 0.01;

/** How a candidate takes over where etcd itself may have removed the key of a leader that still acts. */
export interface TakeoverOptions {
  /** How long it waits, in milliseconds; see `leastTakeoverDelayMs`. */
  readonly delayMs: number;
  /** Where release marks are kept. */
  readonly marksPrefix: string;
}

/** How long a leader may act after etcd removed its key without its knowledge: all of what a renewal proves. */
export function leastTakeoverDelayMs(ttlMs: number): number {
  return provenUntil(0, ttlMs) + ttlMs * clockRateError;
}

/** Throws `BAD_OPTION` unless it is 0, or long enough to be of use. */
export function checkTakeoverDelayMs(delayMs: number, ttlSeconds: number): void {
  const leastMs = leastTakeoverDelayMs(ttlSeconds * 1_000);
  const usable = typeof delayMs === "number" && (delayMs === 0 || delayMs >= leastMs);
  if (usable && Number.isFinite(delayMs)) return;
  const rule = `0, or ${Math.ceil(leastMs)} milliseconds or more: a leader may act for so long after it lost its key`;
  throw badOption("takeoverDelayMs", rule, delayMs);
}

/**
 * The wait of one candidate before it leads: from the last end of any earlier key that left no release mark, and from
 * its own joining, for keys that ended before that. A mark says that the work of its key had stopped, and
 * excuses no other key.
 */
export class TakeoverDelay {
  readonly #etcd: Etcd;
  readonly #options: TakeoverOptions;
  /** Tokens of the keys that were created earlier and are not known to have ended. */
  readonly #before: Set<bigint>;
  /** When the end of each earlier key was seen here. */
  readonly #ends: Map<bigint, number> = new Map();
  readonly #onPassed: () => void;
  #readyAt: number;
  #reading: Promise<void> | undefined;
  #marksRead = false;
  #cancelTimer: CancelTimer = () => {};
  #stopped = false;

  /** Counts from now. `onPassed` is called when the answer of `passed` may have become another. */
  constructor(etcd: Etcd, options: TakeoverOptions, before: readonly bigint[], onPassed: () => void) {
    this.#etcd = etcd;
    this.#options = options;
    this.#before = new Set(before);
    this.#onPassed = onPassed;
    this.#readyAt = etcd.clock.now() + options.delayMs;
  }

  /** Takes note of the earlier keys that have ended; later ones are none of its business. */
  lineChanged(candidates: readonly Candidate[]): void {
    const living = new Set(candidates.map(({ token }) => token));
    const now = this.#etcd.clock.now();
    for (const token of this.#before) {
      if (living.has(token)) continue;
      this.#before.delete(token);
      this.#ends.set(token, now);
    }
  }

  /** Whether a candidate that is the first may lead now; if not, `onPassed` is called when it is worth asking again. */
  passed(): boolean {
    if (this.#stopped) return false;
    if (!this.#marksRead) {
      this.#reading ??= this.#readMarks();
      return false;
    }
    const { clock } = this.#etcd;
    if (clock.now() >= this.#readyAt) return true;
    this.#cancelTimer();
    this.#cancelTimer = clock.at(this.#readyAt, this.#onPassed);
    return false;
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
  }

  /** The mark of a key of this candidate's; see `releaseMark`. */
  mark(token: bigint): Op {
    return releaseMark(this.#options.marksPrefix, token);
  }

  /** Ends that matter no more are not asked about; those without a readable mark are waited for. Never rejects. */
  async #readMarks(): Promise<void> {
    const { clock, logger } = this.#etcd;
    const { delayMs } = this.#options;
    const recent = [...this.#ends]
      .filter(([, at]) => at + delayMs > Math.max(this.#readyAt, clock.now()))
      .sort(([, a], [, b]) => b - a);
    const asked = recent.slice(0, mostMarks);
    const marked = new Set(asked.length === 0 ? [] : await this.#marksOf(asked.map(([token]) => token)));
    const unmarked = recent.filter(([token]) => !marked.has(token));
    for (const [, at] of unmarked) this.#readyAt = Math.max(this.#readyAt, at + delayMs);
    this.#marksRead = true;
    if (this.#stopped) return;
    const waitMs = Math.max(0, this.#readyAt - clock.now());
    if (waitMs > 0) {
      const tokens = unmarked.map(([token]) => token);
      logger.info({ waitMs, tokens }, "first in line; waiting, for an earlier leader may still act");
    }
    this.#onPassed();
  }

  /** Of these tokens, those whose key left a mark. */
  async #marksOf(tokens: readonly bigint[]): Promise<readonly bigint[]> {
    const { delayMs } = this.#options;
    const success = tokens.map((token) => getOp(markKey(this.#options.marksPrefix, token)));
    try {
      // Longer than the wait that a mark would save it is not worth asking.
      const limits = { timeoutMs: delayMs, idempotent: true };
      const { response } = await this.#etcd.call(KV.method.txn, { success }, limits);
      return response.responses.flatMap((each) => kvsOf(each).flatMap(tokenOf));
    } catch (error) {
      this.#etcd.logger.warn({ error }, "cannot read release marks; waiting as if there were none");
      return [];
    }
  }
}

/** Puts the mark of a key; only in the transaction that deletes it, and only when its work has stopped. */
export function releaseMark(marksPrefix: string, token: bigint): Op {
  return putOp(markKey(marksPrefix, token), JSON.stringify({ token: Number(token) }));
}

function markKey(marksPrefix: string, token: bigint): string {
  return `${marksPrefix}${token % markSlots}`;
}

/** The token that a mark names; none where somebody else wrote it. */
function tokenOf({ value }: KeyValue): readonly bigint[] {
  try {
    const { token } = JSON.parse(toText(value)) as { token?: unknown };
    return Number.isSafeInteger(token) ? [BigInt(token as number)] : [];
  } catch {
    return [];
  }
}
