import type { Cause } from "../errors.ts";

/** Why a proof can be lost before its time; what the threads share is the place in the list. */
type Loss = Extract<Cause, "lease-gone" | "key-gone" | "store-restored">;
const losses: readonly Loss[] = ["lease-gone", "key-gone", "store-restored"];

// Atomics knows whole numbers alone, so an instant is kept as the bits of its number.
const scratch = new Float64Array(1);
const scratchBits = new BigInt64Array(scratch.buffer);

function bitsOf(instant: number): bigint {
  scratch[0] = instant;
  return scratchBits[0] as bigint;
}

function instantOf(bits: bigint): number {
  scratchBits[0] = bits;
  return scratch[0] as number;
}

/** What stands in the place of an instant that has been seen to be over. */
const over = bitsOf(Number.NEGATIVE_INFINITY);

const untilWord = 0;
const lossWord = 1;

/**
 * The instant until which something is proven: that a lease lives, that a key stands. It is kept in memory that
 * threads share, so that the one that was blocked knows on its next instruction what the other has heard meanwhile.
 *
 * By `renew` it moves forward only while it has not passed, and once anybody has found it passed it is over: an answer
 * that comes late revives no term, whichever thread it reaches. A candidate that only waits may look again: `prove`.
 */
export class Proof {
  readonly memory: SharedArrayBuffer;
  readonly #words: BigInt64Array;

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#words = new BigInt64Array(memory);
  }

  static until(instant: number): Proof {
    const proof = new Proof(new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT));
    Atomics.store(proof.#words, untilWord, bitsOf(instant));
    return proof;
  }

  /** The instant, passed or not; minus infinity once it is over. */
  get until(): number {
    if (this.loss !== undefined) return Number.NEGATIVE_INFINITY;
    return instantOf(Atomics.load(this.#words, untilWord));
  }

  /** What etcd said that ended it early. */
  get loss(): Loss | undefined {
    const code = Number(Atomics.load(this.#words, lossWord));
    return losses[code - 1];
  }

  /** Whether it has passed at `now`; if so it is over. */
  passed(now: number): boolean {
    for (;;) {
      const until = Atomics.load(this.#words, untilWord);
      if (until === over || this.loss !== undefined) return true;
      if (now < instantOf(until)) return false;
      // The other thread may have moved it in this very moment.
      if (Atomics.compareExchange(this.#words, untilWord, until, over) === until) return true;
    }
  }

  /** Moves it forward to `instant`, for an answer that arrived at `now`; false if it was over before that. */
  renew(instant: number, now: number): boolean {
    for (;;) {
      if (this.passed(now)) return false;
      const until = Atomics.load(this.#words, untilWord);
      if (until !== over && this.#moved(until, instant)) return true;
    }
  }

  /** The same where nothing rests on it yet, so that it does not matter whether it was over. */
  prove(instant: number): void {
    while (!this.#moved(Atomics.load(this.#words, untilWord), instant)) {
      // The other thread moved it in this very moment.
    }
  }

  #moved(from: bigint, instant: number): boolean {
    if (instant <= instantOf(from)) return true;
    return Atomics.compareExchange(this.#words, untilWord, from, bitsOf(instant)) === from;
  }

  /** Ends it early. The first word counts. */
  lose(loss: Loss): void {
    Atomics.compareExchange(this.#words, lossWord, 0n, BigInt(losses.indexOf(loss) + 1));
  }
}

/** Yes or no, in memory that threads share. */
export class SharedFlag {
  readonly memory: SharedArrayBuffer;
  readonly #word: Int32Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#word = new Int32Array(memory);
  }

  get value(): boolean {
    return Atomics.load(this.#word, 0) === 1;
  }

  set value(value: boolean) {
    Atomics.store(this.#word, 0, value ? 1 : 0);
  }
}
