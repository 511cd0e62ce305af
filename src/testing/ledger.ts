import { type Clock, systemClock } from "../clock.ts";
import type { Term } from "../concurrency/term.ts";
import { badOption } from "../errors.ts";
import { onAbort } from "../waiting.ts";
import { checkOptions } from "./arguments.ts";

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

/** One that lasts has no end yet. */
type Spell = Omit<Acting, "end"> & { end: number | undefined };

/**
 * Records who acted as leader, and when, on one clock: wrap every member's `lead` by it, make trouble, and look at
 * `overlaps` at the end. For the members of one process; others have other clocks.
 */
export class Ledger {
  readonly #clock: Clock;
  readonly #spells: Spell[] = [];

  /** `clock` is the one of the members, where they have a manual one. @defaultValue the process's clock */
  constructor(options: { readonly clock?: Clock } = {}) {
    checkOptions(options, ["clock"]);
    const { clock = systemClock } = options;
    if (typeof clock?.now !== "function") throw badOption("clock", "a clock, such as a ManualClock", clock);
    this.#clock = clock;
  }

  /**
   * A `lead` for a member that is called `who` here: it does `work`, and records from when to when. Without `work` it
   * leads until the term ends. Throws `BAD_OPTION`.
   */
  lead(who: string, work: (term: Term) => unknown = untilOver): (term: Term) => Promise<void> {
    if (typeof who !== "string" || who === "") throw badOption("who", "a name", who);
    if (typeof work !== "function") throw badOption("work", "a function", work);
    return async (term) => {
      const spell: Spell = { who, token: term.token, start: this.#clock.now(), end: undefined };
      this.#spells.push(spell);
      try {
        await work(term);
      } finally {
        spell.end = this.#clock.now();
      }
    };
  }

  /** All spells so far by start; one that lasts ends now. */
  get spells(): readonly Acting[] {
    const now = this.#clock.now();
    return this.#spells.map((spell) => ({ ...spell, end: spell.end ?? now }));
  }

  /** Every pair of spells that share time: none, if there never were two leaders. */
  get overlaps(): readonly Overlap[] {
    return overlaps(this.spells);
  }

  /** Milliseconds of `from` to `to` in which nobody acted; by default, from the first act until now. */
  idleMs(from?: number, to?: number): number {
    const now = this.#clock.now();
    return idleMs(this.spells, from ?? this.#spells[0]?.start ?? now, to ?? now);
  }
}

function untilOver({ signal }: Term): Promise<void> {
  return new Promise((resolve) => onAbort(signal, resolve));
}
