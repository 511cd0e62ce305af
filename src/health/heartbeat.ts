import type { CancelTimer, Clock } from "../clock.ts";
import type { Pulse } from "./answer.ts";

/**
 * The main thread's signs of life, in memory that it shares with the thread that answers for it. Instants are those of
 * `process.hrtime`, the one scale that is the same in all threads of a process.
 */
export interface SharedPulse {
  /** The latest sign, in nanoseconds. */
  readonly beat: BigInt64Array;
  readonly periodMs: number;
  readonly limitMs: number;
}

/** A sign of life every tenth of a TTL, so that lateness is known far more finely than it matters. */
export function sharedPulse(ttlMs: number): SharedPulse {
  const beat = new BigInt64Array(new SharedArrayBuffer(8));
  return { beat, periodMs: Math.min(1_000, Math.max(50, ttlMs / 10)), limitMs: ttlMs };
}

/** Gives signs of life from the clock's own timers until the result is called. */
export function beatRegularly(clock: Clock, { beat, periodMs }: SharedPulse): () => void {
  let cancel: CancelTimer = () => {};
  const give = (): void => {
    Atomics.store(beat, 0, process.hrtime.bigint());
    cancel = clock.at(clock.now() + periodMs, give);
  };
  give();
  return () => cancel();
}

/** How the main thread keeps time, seen from any thread. */
export function pulseNow({ beat, periodMs, limitMs }: SharedPulse): Pulse {
  const sinceMs = Number(process.hrtime.bigint() - Atomics.load(beat, 0)) / 1e6;
  return { lateMs: sinceMs - periodMs, limitMs };
}
