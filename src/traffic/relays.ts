import type { Socket } from "node:net";
import type { CancelTimer, Clock } from "../clock.ts";
import type { Candidate } from "../concurrency/line.ts";
import type { Logger } from "../log.ts";
import { Relay } from "./gateway-relay.ts";
import type { GatewayCounters } from "./gateway-stats.ts";

/** After its time to drain a slow reader has so long to take what waits for it. */
const finishMs = 500;

export interface RelaysOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: GatewayCounters;
  readonly drainMs: number;
  readonly silentMs: number;
  readonly answerMs: number | undefined;
  readonly mayPass: () => boolean;
  /** The instant, a few milliseconds old at most. */
  readonly now: () => number;
  /** A connection has ended. */
  readonly onGone: () => void;
}

/** The connections to one leader in one term. */
interface Term {
  readonly leader: Candidate;
  readonly relays: Set<Relay>;
  readonly silent: Set<Relay>;
  /** What has been told of this leader. */
  readonly told: { broken: boolean; silent: boolean };
  cancelDrain: CancelTimer | undefined;
}

/** Every connection to a leader, by the term for which it was made: it never outlives that by more than its drain. */
export class Relays {
  readonly #options: RelaysOptions;
  readonly #terms: Map<bigint, Term> = new Map();
  #cancelLook: CancelTimer | undefined;

  constructor(options: RelaysOptions) {
    this.#options = options;
  }

  get size(): number {
    let size = 0;
    for (const { relays } of this.#terms.values()) size += relays.size;
    return size;
  }

  add(client: Socket, socket: Socket, leader: Candidate, early: readonly Buffer[]): void {
    const { counters, now, mayPass } = this.#options;
    const term = this.#terms.get(leader.token) ?? this.#begin(leader);
    counters.forwarded++;
    const relay: Relay = new Relay({
      ...{ client, leader: socket, early, counters, now, mayPass },
      onClosed: (error) => this.#closed(term, relay, error),
    });
    term.relays.add(relay);
    this.#lookAfter();
  }

  /** Nothing goes either way until it is known how the term ended. */
  freeze(token: bigint): void {
    for (const relay of this.#of(token)) relay.freeze();
  }

  /** Lets the connections of a term end by themselves, for a while. */
  drain(token: bigint): void {
    const term = this.#terms.get(token);
    if (term === undefined || term.relays.size === 0) return;
    for (const relay of term.relays) relay.thaw();
    if (term.cancelDrain !== undefined) return;
    const { clock, drainMs, logger } = this.#options;
    logger.info({ token, connections: term.relays.size, drainMs }, "connections to the old leader may end");
    term.cancelDrain = clock.at(clock.now() + drainMs, () => this.#finish(term));
  }

  /** Ends the connections of every term. */
  finishAll(): void {
    for (const term of [...this.#terms.values()]) this.#finish(term);
    this.#cancelLook?.();
  }

  /** Cuts the connections of a term; how many those were. */
  cut(token: bigint): number {
    // One that was cut in this turn is still here.
    return this.#of(token).filter((relay) => relay.cut()).length;
  }

  cutAll(): number {
    return [...this.#terms.keys()].reduce((sum, token) => sum + this.cut(token), 0);
  }

  /** Terms without connections are kept until the next one: what was told of them is not to be told again. */
  #begin(leader: Candidate): Term {
    for (const [token, { relays }] of this.#terms) if (relays.size === 0) this.#terms.delete(token);
    const told = { broken: false, silent: false };
    const term = { leader, relays: new Set<Relay>(), silent: new Set<Relay>(), told, cancelDrain: undefined };
    this.#terms.set(leader.token, term);
    return term;
  }

  /** Ends the connections that have not ended by themselves; those of slow readers are cut a little later. */
  #finish(term: Term): void {
    if (term.relays.size === 0) return;
    const { clock, counters } = this.#options;
    counters.cutByDrainEnd += term.relays.size;
    term.cancelDrain?.();
    term.cancelDrain = clock.at(clock.now() + finishMs, () => {
      for (const relay of [...term.relays]) relay.cut();
    });
    for (const relay of [...term.relays]) relay.finish();
  }

  #of(token: bigint): readonly Relay[] {
    return [...(this.#terms.get(token)?.relays ?? [])];
  }

  #closed(term: Term, relay: Relay, error: Error | undefined): void {
    const { counters, logger, onGone } = this.#options;
    const { id, token } = term.leader;
    term.relays.delete(relay);
    term.silent.delete(relay);
    if (error !== undefined) {
      counters.broken++;
      const fields = { error, leader: id, token };
      if (term.told.broken) logger.debug(fields, "a connection broke");
      else logger.warn(fields, "a connection broke; of more in this term only the count is told");
      term.told.broken = true;
    }
    if (term.relays.size === 0) {
      term.cancelDrain?.();
      term.cancelDrain = undefined;
    }
    onGone();
  }

  /**
   * Looks for leaders that take what they are sent and say nothing, and for resets under stalled connections, for as long
   * as there are connections.
   */
  #lookAfter(): void {
    if (this.#cancelLook !== undefined) return;
    const { clock, silentMs, answerMs = silentMs } = this.#options;
    this.#cancelLook = clock.at(clock.now() + Math.min(silentMs, answerMs) / 2, () => {
      this.#cancelLook = undefined;
      for (const term of this.#terms.values()) this.#lookAt(term, clock.now());
      if (this.size > 0) this.#lookAfter();
    });
  }

  #lookAt({ leader, relays, silent, told }: Term, now: number): void {
    const { counters, logger, silentMs, answerMs = Number.POSITIVE_INFINITY } = this.#options;
    for (const relay of [...relays]) {
      relay.probe();
      const { silentSince } = relay;
      if (silentSince === undefined) continue;
      if (now - silentSince >= answerMs && relay.cut()) counters.cutBySilence++;
      if (now - silentSince < Math.min(silentMs, answerMs) || silent.has(relay)) continue;
      counters.silent++;
      if (!told.silent) {
        told.silent = true;
        const fields = { leader: leader.id, token: leader.token, silentMs, answerMs };
        logger.error(fields, "the leader takes connections and does not answer on them");
      }
      silent.add(relay);
    }
  }
}
