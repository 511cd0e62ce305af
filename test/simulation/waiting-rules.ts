import type { KeyValue } from "../../src/etcd/gen/etcd_pb.ts";
import { claim, leaseOf } from "./claims.ts";
import type { Host } from "./host.ts";
import { MemberProgram } from "./member-program.ts";
import type { Program } from "./program.ts";
import type { Simulation } from "./simulation.ts";
import type { Removal, TrueKey } from "./truth.ts";

/** How long nothing may disturb before a member has given back what it does not stand with. */
const backWithinMs = 3_000;

/** What must hold of those who wait: they are in the line, or on their way back into it, and for a reason. */
export class WaitingRules {
  readonly #simulation: Simulation;
  readonly #keys: Map<Host, Map<string, TrueKey>> = new Map();
  readonly #lastKey: Map<Host, TrueKey> = new Map();
  /** Who has been told in this turn that his key is gone. */
  readonly #told: Set<Program> = new Set();
  readonly #withoutKeySince: Map<Program, number> = new Map();
  readonly #twoKeysSince: Map<Program, number> = new Map();

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  /** A process has put its key. */
  put(host: Host, key: TrueKey, created: boolean): void {
    let keys = this.#keys.get(host);
    if (keys === undefined) {
      keys = new Map();
      this.#keys.set(host, keys);
    }
    keys.set(key.key, key);
    if (created) this.#lastKey.set(host, key);
  }

  removed(host: Host, { key }: Removal): void {
    const keys = this.#keys.get(host);
    if (keys?.get(key.key)?.token === key.token) keys.delete(key.key);
  }

  /** An event tells a process that a key is not what its owner put. */
  heardGone(program: Program, kv: KeyValue, key: string): void {
    const last = this.#lastKey.get(program.host);
    if (last?.key === key && kv.modRevision > last.token && kv.createRevision !== last.token) {
      this.#told.add(program);
    }
  }

  /** What the log tells of the end of a candidacy must be so. */
  ended(program: Program, key: string, cause: string): void {
    const { truth, cluster, now, ttlMs, scenario } = this.#simulation;
    if (scenario.calm && cause !== "resigned" && cause !== "closed") {
      const text = `${program.id} gives up ${key} for ${cause}, though nothing happened that may cost that`;
      this.#simulation.violation("lost-in-calm", text);
    }
    if (now < truth.restoredAt + 3 * ttlMs + 10_000) return;
    const stands = truth.get(key);
    const untouched = stands !== undefined && stands.lease === leaseOf(key) && truth.puts(key) === 1;
    const wrong =
      cause === "key-gone"
        ? untouched
        : cause === "lease-gone"
          ? !cluster.paused && cluster.store.leaseTimeToLive({ ID: leaseOf(key) }).TTL >= 0n
          : cause === "store-restored" && truth.history === 0;
    if (wrong) {
      this.#simulation.violation(
        "false-cause",
        `${program.id} gives up ${key} for ${cause}, which is not so`,
      );
    }
  }

  /** Called for each process after every event. */
  check(program: Program): void {
    if (!(program instanceof MemberProgram)) return;
    const { host, phase } = program;
    const waits = phase === "waiting" || phase === "promoting";
    const last = this.#lastKey.get(host);
    const stands = last !== undefined && this.#keys.get(host)?.get(last.key)?.token === last.token;
    if (this.#told.delete(program) && waits && !stands && host.caughtUp) {
      const text = `${program.id} was told that ${last?.key} is gone, and is still ${phase}`;
      this.#simulation.violation("knew-and-waited", text);
    }
    if (!waits || stands || !host.caughtUp) this.#withoutKeySince.delete(program);
    else this.#checkZombie(program, last);
    const keys = this.#keys.get(host)?.size ?? 0;
    if (keys < 2 || this.#simulation.troubled || !host.caughtUp) this.#twoKeysSince.delete(program);
    else this.#checkTwoKeys(program);
  }

  gone(program: Program): void {
    this.#keys.delete(program.host);
    this.#lastKey.delete(program.host);
    this.#told.delete(program);
    this.#withoutKeySince.delete(program);
    this.#twoKeysSince.delete(program);
  }

  #checkZombie(program: Program, last: TrueKey | undefined): void {
    const { now, ttlMs } = this.#simulation;
    const since = this.#withoutKeySince.get(program);
    if (since === undefined) this.#withoutKeySince.set(program, now);
    else if (now > since + 1.5 * ttlMs + 1_000) {
      const key = last === undefined ? "a key" : claim(last.key, last.token);
      this.#simulation.violation("zombie", `${program.id} waits with ${key}, which is gone since ${since}`);
    }
  }

  #checkTwoKeys(program: Program): void {
    const { now } = this.#simulation;
    const since = this.#twoKeysSince.get(program);
    if (since === undefined) this.#twoKeysSince.set(program, now);
    else if (now > since + backWithinMs) {
      this.#simulation.violation(
        "two-keys",
        `${program.id} leaves an old key in the line, without any fault`,
      );
    }
  }
}
