import type { Socket } from "node:net";
import type { GatewayCounters } from "./gateway-stats.ts";
import { probeReset } from "./reset-probe.ts";

export interface RelayOptions {
  readonly client: Socket;
  readonly leader: Socket;
  /** What goes to the leader first: a header, and what the client sent while it waited. */
  readonly early: readonly Buffer[];
  readonly counters: GatewayCounters;
  /** Asked before every piece that goes to the leader. */
  readonly mayPass: () => boolean;
  /** The instant, to tell how long a leader has been silent. */
  readonly now: () => number;
  /** Called once, when both sides are closed; with the error if one of them broke. */
  readonly onClosed: (error: Error | undefined) => void;
}

/** One client's connection to a leader: bytes both ways, each as fast as its reader, each way ended by itself. */
export class Relay {
  readonly #options: RelayOptions;
  #frozen = false;
  #open = 2;
  #error: Error | undefined;
  /** Since when the leader owes its first answer. */
  #owedSince: number | undefined;
  #answered = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    const { client, leader, early, counters } = options;
    for (const each of [client, leader]) {
      each.on("error", (error) => this.#broke(each, error));
      each.once("close", () => this.#closed(each));
    }
    for (const piece of early) leader.write(piece);
    if (early.length > 0) this.#sent(early.reduce((sum, piece) => sum + piece.length, 0));
    client.on("data", (piece: Buffer) => {
      if (!options.mayPass()) return;
      this.#sent(piece.length);
      if (!leader.write(piece)) client.pause();
    });
    leader.on("data", (piece: Buffer) => {
      this.#answered = true;
      counters.bytesToClients += piece.length;
      if (!client.write(piece)) leader.pause();
    });
    leader.on("drain", () => this.#resume(client));
    client.on("drain", () => this.#resume(leader));
    client.on("end", () => leader.end());
    leader.on("end", () => client.end());
    if (client.readableEnded) leader.end();
    if (leader.writableNeedDrain) client.pause();
    else client.resume();
    leader.resume();
    // One that broke in the turn in which it was connected has told nobody yet.
    if (client.destroyed) reset(leader);
  }

  /** Since when the leader owes its first answer; `undefined` if it owes none. */
  get silentSince(): number | undefined {
    return this.#answered ? undefined : this.#owedSince;
  }

  /** Has a side that waits for the other's reader notice that it was reset meanwhile. */
  probe(): void {
    probeReset(this.#options.client);
    probeReset(this.#options.leader);
  }

  /** Passes nothing on, either way, until it is thawed or cut. */
  freeze(): void {
    this.#frozen = true;
    this.#options.client.pause();
    this.#options.leader.pause();
  }

  thaw(): void {
    this.#frozen = false;
    const { client, leader } = this.#options;
    if (!leader.writableNeedDrain) client.resume();
    if (!client.writableNeedDrain) leader.resume();
  }

  /** Ends both sides by a reset: what is still on its way to the leader goes nowhere. False if that was done before. */
  cut(): boolean {
    const { leader, client } = this.#options;
    if (leader.destroyed && client.destroyed) return false;
    reset(leader);
    reset(client);
    return true;
  }

  /** Ends both sides when what was taken has been passed on. */
  finish(): void {
    this.#options.leader.destroySoon();
    this.#options.client.destroySoon();
  }

  #sent(bytes: number): void {
    this.#options.counters.bytesToLeader += bytes;
    if (!this.#answered) this.#owedSince ??= this.#options.now();
  }

  #resume(side: Socket): void {
    if (!this.#frozen) side.resume();
  }

  /** What is broken on one side is broken on the other. */
  #broke(side: Socket, error: Error): void {
    this.#error ??= error;
    const { client, leader } = this.#options;
    reset(side === client ? leader : client);
  }

  #closed(side: Socket): void {
    const { client, leader } = this.#options;
    const other = side === client ? leader : client;
    // Closed without an end: nothing can come from or go to this side any more.
    if (!side.readableEnded && !other.destroyed) reset(other);
    if (--this.#open === 0) this.#options.onClosed(this.#error);
  }
}

/** Ends a connection by a reset; a closed one stays closed. */
export function reset(socket: Socket): void {
  if (socket.destroyed) return;
  // While a FIN waits to be sent Node.js cannot reset, and would neither close the socket nor say that it has not.
  if (socket.connecting || socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
