/** The units of durations, in the reader's language. */
export interface DurationUnits {
  readonly ms: string;
  readonly s: string;
  readonly min: string;
  readonly h: string;
  readonly d: string;
}

/** A duration in at most two units, such as `850 ms`, `2.4 s`, `3 min 12 s` or `5 d 2 h`. */
export function duration(ms: number, units: DurationUnits): string {
  if (ms < 0) return duration(0, units);
  if (ms < 1_000) return `${Math.round(ms)} ${units.ms}`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} ${units.s}`;
  const seconds = Math.round(ms / 1_000);
  const two = (size: number, big: string, small: number, little: string): string => {
    const rest = Math.floor((seconds % size) / small);
    return `${Math.floor(seconds / size)} ${big}${rest === 0 ? "" : ` ${rest} ${little}`}`;
  };
  if (seconds < 60) return `${seconds} ${units.s}`;
  if (seconds < 3_600) return two(60, units.min, 1, units.s);
  if (seconds < 86_400) return two(3_600, units.h, 60, units.min);
  return two(86_400, units.d, 3_600, units.h);
}

/** A duration that is counted while one looks: no fractions. */
export function wholeSeconds(ms: number, units: DurationUnits): string {
  const seconds = Math.ceil(Math.max(0, ms) / 1_000);
  return seconds < 60 ? `${seconds} ${units.s}` : duration(seconds * 1_000, units);
}

/** The server's clock, as far as it has told: the browser's own may be hours off. */
export class ServerClock {
  #ahead: number | undefined;

  /** `time` was now when it was sent. */
  told(time: string): void {
    const at = Date.parse(time);
    if (!Number.isNaN(at)) this.#ahead = at - performance.now();
  }

  /** Milliseconds since 1970, at the server. */
  now(): number {
    return performance.now() + (this.#ahead ?? performance.timeOrigin);
  }
}
