import { leaseOf } from "./claims.ts";
import type { Host } from "./host.ts";
import type { Simulation } from "./simulation.ts";

/** Why somebody may go on with a key that is not his any more. */
export type Excuse = "removed" | "restored";

/** Boot time, which alone goes on while a machine sleeps, moves in such steps. */
const bootStepMs = 10;

/**
 * What cannot be helped: etcd itself removed the key, for an operator or because it was restored from a backup, and its
 * owner has not heard of that. It may go on to the deadline of what it knew, and no longer.
 */
export class Excuses {
  readonly #simulation: Simulation;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  /** Whether `host` may still lead with a key of its own; `reserveMs` before the deadline it must have stopped. */
  of(host: Host, key: string, token: bigint, reserveMs: number): Excuse | undefined {
    const { truth, now } = this.#simulation;
    const [first] = truth.line;
    if (first?.key === key && first.token === token && first.lease === leaseOf(key)) return undefined;
    const removal = truth.removal(key, token);
    const { cluster, ttlMs } = this.#simulation;
    const grantedMs = cluster.leases.get(leaseOf(key))?.ttlMs ?? ttlMs;
    // Every read that found the key was sent before that.
    const over = (at: number): boolean => now > at + this.proofMs(grantedMs, reserveMs);
    if (removal?.by === "operator" && !over(removal.at)) return "removed";
    return over(truth.restoredAt) || host.startedAt > truth.restoredAt ? undefined : "restored";
  }

  /** How long an answer proves something from its request on, at most; `reserveMs` before that is the end. */
  proofMs(ttlMs: number, reserveMs: number): number {
    const marginMs = Math.max(250, ttlMs * 0.02);
    return (ttlMs - marginMs - reserveMs) / (1 - this.#simulation.scenario.drift) + bootStepMs;
  }
}
