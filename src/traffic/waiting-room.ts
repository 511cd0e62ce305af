import type { Socket } from "node:net";
import type { CancelTimer, Clock } from "../clock.ts";
import type { Candidate } from "../concurrency/line.ts";
import type { Logger } from "../log.ts";
import { backoffMs } from "../waiting.ts";
import { reset } from "./gateway-relay.ts";
import type { Route } from "./gateway-route.ts";
import type { GatewayCounters } from "./gateway-stats.ts";
import type { Target } from "./gateway-target.ts";
import { connectLeader, LoopError } from "./leader-connection.ts";
import { probeReset } from "./reset-probe.ts";

/** How much of what a waiting client sends is taken; the rest stays with the kernel. */
const earlyBytes = 64 * 1_024;
/** So many connections are opened at a time: a service takes a few hundred that it has not accepted yet. */
const mostConnecting = 128;
/** How exact the limits are. */
const tickMs = 100;
const longestRetryMs = 500;

export interface WaitingRoomOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: GatewayCounters;
  readonly holdMs: number;
  readonly holdConnections: number;
  readonly connectMs: number;
  /** Where the gateway listens. */
  readonly own: () => { readonly address: string; readonly port: number };
  /** The instant, a few milliseconds old at most. */
  readonly now: () => number;
  /** Whether anything may go to the leader; if not, that has been told to `routeChanged`. */
  readonly mayPass: () => boolean;
  readonly onConnected: (guest: Guest, leader: Socket, to: Candidate) => void;
  /** A client is gone, or was sent away. */
  readonly onGone: () => void;
}

/** A client that waits. */
export interface Guest {
  readonly client: Socket;
  readonly since: number;
  /** What it sent meanwhile. */
  readonly early: Buffer[];
  earlyBytes: number;
  attempt: Attempt | undefined;
  /** Takes the room's listeners off the client. */
  release: () => void;
}

interface Attempt {
  readonly token: bigint;
  readonly since: number;
  readonly giveUp: () => void;
}

/**
 * Clients without a connection to a leader: those who came while nobody leads, and those being connected. Each is held
 * for a bounded time, and so many at most.
 */
export class WaitingRoom {
  readonly #options: WaitingRoomOptions;
  /** In the order in which they came. */
  readonly #guests: Set<Guest> = new Set();
  #route: Extract<Route, { at: "open" }> | undefined;
  #connecting = 0;
  /** Attempts in a row that failed; until one succeeds there is one at a time. */
  #failures = 0;
  #retrying: CancelTimer | undefined;
  #ticking: CancelTimer | undefined;
  #toldFull = false;

  constructor(options: WaitingRoomOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#guests.size;
  }

  enter(client: Socket): void {
    const guest: Guest = {
      ...{ client, since: this.#options.now(), early: [], earlyBytes: 0, attempt: undefined },
      release: () => {},
    };
    const gone = (): void => this.#leave(guest);
    client.on("error", gone);
    client.once("close", gone);
    guest.release = () => client.off("error", gone).off("close", gone);
    this.#guests.add(guest);
    this.#tick();
    if (this.#mayConnect) this.#connect(guest);
    else this.#wait(guest);
  }

  routeChanged(route: Route): void {
    const before = this.#route;
    this.#route = route.at === "open" ? route : undefined;
    const same = this.#route?.leader.token === before?.leader.token;
    if (same && this.#route?.target.name === before?.target.name) return;
    this.#failures = 0;
    this.#retrying?.();
    this.#retrying = undefined;
    for (const guest of [...this.#guests]) {
      if (guest.attempt === undefined) continue;
      this.#dropAttempt(guest);
      this.#wait(guest);
    }
    this.#fill();
  }

  /** Sends everybody away. */
  close(): void {
    for (const guest of [...this.#guests]) this.#sendAway(guest);
    this.#retrying?.();
    this.#ticking?.();
  }

  get #mayConnect(): boolean {
    if (this.#route === undefined || this.#retrying !== undefined) return false;
    return this.#connecting < (this.#failures === 0 ? mostConnecting : 1);
  }

  #fill(): void {
    for (const guest of this.#guests) {
      if (!this.#mayConnect) return;
      if (guest.attempt === undefined) this.#connect(guest);
    }
  }

  /** Takes what the client sends, so that its leaving is noticed. */
  #wait(guest: Guest): void {
    const { holdConnections, logger, counters } = this.#options;
    if (this.#guests.size - this.#connecting > holdConnections) {
      counters.refusedFull++;
      if (!this.#toldFull) {
        this.#toldFull = true;
        logger.error({ holdConnections }, "too many connections wait for a leader; refusing more");
      }
      this.#sendAway(guest);
      return;
    }
    const { client } = guest;
    if (client.listenerCount("data") > 0) return;
    const take = (piece: Buffer): void => {
      guest.early.push(piece);
      guest.earlyBytes += piece.length;
      if (guest.earlyBytes >= earlyBytes) client.pause();
    };
    client.on("data", take);
    const { release } = guest;
    guest.release = () => {
      release();
      client.off("data", take);
    };
    client.resume();
  }

  #connect(guest: Guest): void {
    const { own, now } = this.#options;
    const { leader, target } = this.#route as Extract<Route, { at: "open" }>;
    this.#connecting++;
    const giveUp = connectLeader({
      ...{ target, own: own() },
      onConnected: (socket) => {
        if (!this.#options.mayPass()) return;
        this.#connecting--;
        guest.attempt = undefined;
        this.#guests.delete(guest);
        guest.release();
        this.#failures = 0;
        this.#toldFull = false;
        this.#options.onConnected(guest, socket, leader);
        this.#fill();
      },
      onFailed: (error) => this.#failed(guest, leader, target, error),
    });
    guest.attempt = { token: leader.token, since: now(), giveUp };
  }

  #failed(guest: Guest, { id, token }: Candidate, { name }: Target, error: Error): void {
    const { clock, counters, logger } = this.#options;
    this.#connecting--;
    guest.attempt = undefined;
    counters.connectFailures++;
    if (error instanceof LoopError) counters.loops++;
    if (this.#failures++ === 0) {
      const fields = { error, leader: id, token, address: name };
      // Clients feel it, so whoever hears of errors alone is told, as the command's user is by default.
      if (error instanceof LoopError) logger.error(fields, `${error.message}; connections wait`);
      else logger.error(fields, "cannot connect to the leader; connections wait while it is tried again");
    }
    if (this.#retrying === undefined) {
      const pauseMs = backoffMs(clock, this.#failures, 20, longestRetryMs);
      this.#retrying = clock.at(clock.now() + pauseMs, () => {
        this.#retrying = undefined;
        this.#fill();
      });
    }
    this.#wait(guest);
  }

  #dropAttempt(guest: Guest): void {
    if (guest.attempt === undefined) return;
    guest.attempt.giveUp();
    guest.attempt = undefined;
    this.#connecting--;
  }

  #leave(guest: Guest): void {
    if (!this.#guests.delete(guest)) return;
    this.#dropAttempt(guest);
    guest.release();
    // Whatever else it has to say.
    guest.client.on("error", () => {});
    this.#options.onGone();
    this.#fill();
  }

  #sendAway(guest: Guest): void {
    this.#leave(guest);
    reset(guest.client);
  }

  /** Looks after the limits for as long as somebody is here. */
  #tick(): void {
    if (this.#ticking !== undefined) return;
    const { clock, holdMs, connectMs, counters } = this.#options;
    this.#ticking = clock.at(clock.now() + tickMs, () => {
      this.#ticking = undefined;
      const now = clock.now();
      for (const guest of [...this.#guests]) {
        const { attempt, client } = guest;
        probeReset(client);
        if (now - guest.since >= holdMs) {
          counters.refusedLate++;
          this.#sendAway(guest);
        } else if (attempt !== undefined && now - attempt.since >= connectMs && this.#route !== undefined) {
          attempt.giveUp();
          this.#failed(
            guest,
            this.#route.leader,
            this.#route.target,
            new Error(`no answer within ${connectMs} ms`),
          );
        }
      }
      if (this.#guests.size > 0) this.#tick();
    });
  }
}
