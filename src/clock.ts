import { uptime } from "node:os";

/** What `Clock.at` returns: calling it drops the timer; calling it again does nothing. */
export type CancelTimer = () => void;

/**
 * The only source of time. Instants are milliseconds on a scale of this process: they
 * never go back, they count time in which the machine was suspended, and they mean
 * nothing on another machine.
 */
export interface Clock {
  /** The instant now, in milliseconds. */
  now(): number;
  /** Runs `task` once when `now()` has reached `instant`, never in the same turn. */
  at(instant: number, task: () => void): CancelTimer;
  /** The wall clock, for people to read; nothing is decided by it. */
  date(): Date;
  /** A number in [0, 1), for jitter. */
  random(): number;
}

/** A timer sleeps no longer than this at a time, so that one set before a suspension is late by no more. */
const longestSleepMs = 1_000;

/** Where the scale of a clock begins, for another thread's clock to share it. */
export interface ClockOrigin {
  readonly monotonicMs: number;
  readonly bootMs: number;
}

/** The clock of the running process. */
export class SystemClock implements Clock {
  readonly origin: ClockOrigin;

  constructor(origin: ClockOrigin = { monotonicMs: monotonicMs(), bootMs: bootMs() }) {
    this.origin = origin;
  }

  /**
   * The larger of monotonic time, which stands still while a machine sleeps, and boot
   * time, which goes on but moves in steps of 10 ms. Boot time is read on Linux alone:
   * elsewhere `os.uptime()` follows the wall clock.
   */
  now(): number {
    return Math.max(monotonicMs() - this.origin.monotonicMs, bootMs() - this.origin.bootMs);
  }

  at(instant: number, task: () => void): CancelTimer {
    let timer: NodeJS.Timeout;
    const sleep = (): void => {
      const left = instant - this.now();
      timer = setTimeout(left <= longestSleepMs ? fire : sleep, Math.min(Math.max(left, 0), longestSleepMs));
    };
    // Node may fire a timer up to a millisecond early.
    const fire = (): void => (this.now() < instant ? sleep() : task());
    sleep();
    return () => clearTimeout(timer);
  }

  date(): Date {
    return new Date();
  }

  random(): number {
    return Math.random();
  }
}

const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;
const bootMs = (): number => (process.platform === "linux" ? uptime() * 1_000 : 0);

/** The process's own clock, the default wherever a clock can be given. */
export const systemClock: SystemClock = new SystemClock();
