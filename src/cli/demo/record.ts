import type { Cause } from "../../errors.ts";
import { type Acting, idleMs, type Overlap, overlaps } from "../../testing/ledger.ts";
import type { Report } from "./protocol.ts";

export type FailoverKind = "crash" | "handover";

export interface Failover {
  readonly kind: FailoverKind;
  readonly from: string;
  readonly to: string;
  /** Milliseconds from the kill, or from the asking to leave, to the successor's acting. */
  readonly ms: number;
}

/** What `demo --json` prints. */
export interface Summary {
  readonly failovers: readonly Failover[];
  readonly requests: { readonly ok: number; readonly failed: number };
  readonly overlaps: number;
}

/** A term as its member recorded it; `end` is the last instant of which it is known that it acted. */
export interface TermRecord extends Acting {
  readonly open: boolean;
  readonly endedBy: Cause | "killed" | undefined;
}

/** What happened, put together from what every member recorded of itself. Pure: instants are given. */
export class DemoRecord {
  readonly #terms: TermRecord[] = [];
  readonly #failovers: Failover[] = [];
  #pending: { readonly kind: FailoverKind; readonly from: string; readonly at: number } | undefined;
  #ok = 0;
  #failed = 0;

  /** Who acts as leader, the newest term's if there are several. */
  get leader(): string | undefined {
    return this.#terms.findLast((term) => term.open)?.who;
  }

  get terms(): readonly TermRecord[] {
    return this.#terms;
  }

  get failovers(): readonly Failover[] {
    return this.#failovers;
  }

  /** Whether a failover is under way. */
  get pending(): boolean {
    return this.#pending !== undefined;
  }

  /** Takes down what a member says of itself. Returns the failover that this completes. */
  reported(who: string, report: Report): Failover | undefined {
    if (report.on === "began") {
      const { token, at } = report;
      this.#terms.push({ who, token, start: at, end: at, open: true, endedBy: undefined });
      return this.#completed(who, at);
    }
    if (report.on === "acting" || report.on === "ended") {
      const { token, at } = report;
      const ended = report.on === "ended" ? { open: false, endedBy: report.cause } : {};
      this.#change((term) => term.who === who && term.token === token, at, ended);
    }
    return undefined;
  }

  /** The member's process ended at `at`, or was about to: its own record says no more. */
  died(who: string, at: number): void {
    this.#change((term) => term.who === who && term.open, at, { open: false, endedBy: "killed" });
  }

  /** A failover begins. */
  began(kind: FailoverKind, from: string, at: number): void {
    this.#pending = { kind, from, at };
  }

  served(): void {
    this.#ok++;
  }

  failed(): void {
    this.#failed++;
  }

  /** Since when nobody has acted as leader; undefined while somebody does, or before anybody did. */
  get leaderlessSince(): number | undefined {
    if (this.leader !== undefined || this.#terms.length === 0) return undefined;
    return Math.max(...this.#terms.map((term) => term.end));
  }

  /** Milliseconds without a leader, from the first term to `now`. */
  leaderlessMs(now: number): number {
    const first = this.#terms[0];
    return first === undefined ? 0 : idleMs(this.#until(now), first.start, now);
  }

  overlaps(now: number): readonly Overlap[] {
    return overlaps(this.#until(now));
  }

  summary(now: number): Summary {
    return {
      failovers: this.#failovers.map((each) => ({ ...each, ms: Math.round(each.ms * 100) / 100 })),
      requests: { ok: this.#ok, failed: this.#failed },
      overlaps: this.overlaps(now).length,
    };
  }

  /** A term that goes on lasts until now. */
  #until(now: number): readonly Acting[] {
    return this.#terms.map((term) => (term.open ? { ...term, end: Math.max(term.end, now) } : term));
  }

  #change(
    which: (term: TermRecord) => boolean,
    at: number,
    ended: Partial<Pick<TermRecord, "open" | "endedBy">>,
  ): void {
    const index = this.#terms.findLastIndex(which);
    const term = this.#terms[index];
    if (term !== undefined) this.#terms[index] = { ...term, ...ended, end: Math.max(term.end, at) };
  }

  #completed(to: string, at: number): Failover | undefined {
    const pending = this.#pending;
    if (pending === undefined) return undefined;
    this.#pending = undefined;
    const failover = { kind: pending.kind, from: pending.from, to, ms: at - pending.at };
    this.#failovers.push(failover);
    return failover;
  }
}

/** The demo's exit code: two leaders at once are the one thing that must not happen. */
export function exitCodeOf(summary: Summary): number {
  return summary.overlaps === 0 ? 0 : 1;
}
