import { type Clock, systemClock } from "../clock.ts";
import { sleep } from "../waiting.ts";
import { isPopulated, killCgroup, removeCgroup } from "./cgroup.ts";
import type { Enclosure } from "./enclosure.ts";
import { findMarked, killMarked } from "./marked-processes.ts";
import type { ProcessEntry } from "./process-table.ts";

/** The kernel needs about so long to end a process; what is waited for is worth looking again soon. */
const firstPauseMs = 1;
const longestPauseMs = 20;

/** Kills what there is of an enclosure, step by step, until nothing is left. */
export class Killing {
  readonly #enclosure: Enclosure;
  /** Killed, and not yet seen dead. */
  #dying: readonly ProcessEntry[] = [];

  constructor(enclosure: Enclosure) {
    this.#enclosure = enclosure;
  }

  /** Whether anything is there, as far as one look tells. */
  get isDone(): boolean {
    const { cgroup } = this.#enclosure;
    return cgroup === undefined ? findMarked(this.#enclosure).length === 0 : !isPopulated(cgroup);
  }

  /** Sends SIGKILL to all that is left; true if nothing was. */
  step(): boolean {
    const { cgroup } = this.#enclosure;
    if (cgroup !== undefined) return killCgroup(cgroup);
    this.#dying = killMarked(this.#enclosure, this.#dying);
    return this.#dying.length === 0;
  }

  /** Goes on until nothing is left, and clears away what the enclosure needed. */
  async finish(clock: Clock = systemClock): Promise<void> {
    for (let pauseMs = firstPauseMs; !this.step(); pauseMs = Math.min(2 * pauseMs, longestPauseMs))
      await sleep(clock, pauseMs);
    this.clear();
  }

  /** Clears away what the enclosure needed; only when nothing is left. */
  clear(): void {
    const { cgroup } = this.#enclosure;
    if (cgroup !== undefined) removeCgroup(cgroup);
  }
}
