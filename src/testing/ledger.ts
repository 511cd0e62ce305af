/** One spell of acting as leader, as the one who acted recorded it. All instants are of one clock. */
export interface Acting {
  readonly who: string;
  /** Milliseconds: the instant before the first act. */
  readonly start: number;
  /** Milliseconds: the instant after the last act. */
  readonly end: number;
  /** The fencing token of the term. */
  readonly token: bigint;
}

/** A stretch of time in which two acted as leader at once. */
export interface Overlap {
  readonly first: Acting;
  readonly second: Acting;
  readonly ms: number;
}

/**
 * Every pair of spells that share time, by start; none if there never were two leaders. A spell that begins at the
 * instant at which another ends does not overlap it.
 */
export function overlaps(spells: readonly Acting[]): readonly Overlap[] {
  const byStart = [...spells].sort((a, b) => a.start - b.start);
  const found: Overlap[] = [];
  let open: Acting[] = [];
  for (const second of byStart) {
    open = open.filter((first) => first.end > second.start);
    for (const first of open) {
      const ms = Math.min(first.end, second.end) - second.start;
      if (ms > 0) found.push({ first, second, ms });
    }
    open.push(second);
  }
  return found;
}

/** Milliseconds of `from` to `to` in which nobody acted. */
export function idleMs(spells: readonly Acting[], from: number, to: number): number {
  let idle = 0;
  let reached = from;
  for (const { start, end } of [...spells].sort((a, b) => a.start - b.start)) {
    idle += Math.max(0, Math.min(start, to) - reached);
    reached = Math.max(reached, end);
  }
  return idle + Math.max(0, to - reached);
}
