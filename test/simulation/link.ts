import type { Metadata, RpcStatus } from "../../src/etcd/transport.ts";
import type { Agenda } from "./agenda.ts";
import type { Host } from "./host.ts";
import type { Random } from "./random.ts";

/** What sees everything that a process sends and hears. */
export interface Monitor {
  sent(host: Host, method: string, request: unknown, metadata: Metadata, question: object): void;
  /** Something reached etcd: what was sent in which place, and whether over a connection that the client has dropped. */
  arrived(host: Host, connection: object, order: number, dropped: boolean): void;
  /** Called before the process is told. */
  heard(host: Host, method: string, answer: unknown, question: object): void;
}

/** The other end of a connection: one member of etcd. */
export interface Server {
  /** Whether its machine takes connections. */
  readonly listening: boolean;
  /** Takes one request, which may have been given up since; `answer` may never be called. */
  unary(request: Incoming, answer: (outcome: Outcome) => void): void;
  /** Takes a stream. */
  stream(request: Omit<Incoming, "message">, client: StreamClient): ServerStream;
}

export interface Incoming {
  readonly link: Link;
  readonly host: Host;
  readonly method: string;
  readonly localName: string;
  readonly message: unknown;
  readonly metadata: Metadata;
}

export type Outcome = { readonly response: unknown } | { readonly status: RpcStatus };

export interface StreamClient {
  /** `lane` keeps the order of what has one. */
  send(message: unknown, lane: Lane): void;
  end(status: RpcStatus): void;
}

export interface ServerStream {
  handle(message: unknown): void;
  close(): void;
}

/** What is sent in one lane arrives in order; a connection has many. */
export interface Lane {
  last: number;
}

/** A connection over a link. */
export interface Linked {
  readonly up: Wire;
  readonly down: Wire;
  /** Looks again whether it can be opened. */
  poke(): void;
  /** Both sides learn that it is no more. */
  reset(): void;
  /** The client's side is no more, and what it had sent still arrives. */
  linger(): void;
}

export const usuallyLate = 0.5;

/** The way between one process and one member of etcd, with its troubles. */
export class Link {
  readonly server: Server;
  readonly agenda: Agenda;
  readonly random: Random;
  readonly #wires = new Set<Wire>();
  readonly #connections = new Set<Linked>();
  #lost = { up: 0, down: 0 };
  #delays: number[] = [];
  /** Watches stay silent while everything else passes; how many want that. */
  starved = 0;
  /** Renewals are lost while everything else passes; how many want that. */
  deafToRenewals = 0;
  /** Answers to renewals are held up while everything else passes; how many want that. */
  muteRenewals = 0;
  /** Requests come late while streams pass; how many want that. */
  deafToRequests = 0;
  /** Requests get no answer while streams pass; how many want that. */
  muteRequests = 0;
  #heldAnswers: (() => void)[] = [];
  #heldRequests: (() => void)[] = [];
  /** How likely a request that was given up is carried out all the same. */
  late: number = usuallyLate;

  constructor(server: Server, agenda: Agenda, random: Random) {
    this.server = server;
    this.agenda = agenda;
    this.random = random;
  }

  latency(): number {
    const quick = 0.2 + this.random.next() * 2;
    return this.#delays.length === 0 ? quick : quick + this.random.next() * Math.max(...this.#delays);
  }

  /** Packets of one direction vanish until the result is called. */
  lose(direction: "up" | "down"): () => void {
    this.#lost[direction]++;
    return () => {
      this.#lost[direction]--;
      this.poke();
    };
  }

  /** Everything takes up to `ms` longer. */
  delay(ms: number): () => void {
    this.#delays.push(ms);
    return () => {
      this.#delays.splice(this.#delays.indexOf(ms), 1);
    };
  }

  blocked(direction: "up" | "down"): boolean {
    return this.#lost[direction] > 0;
  }

  /** Until what was lost is sent again. */
  repeatMs(): number {
    return this.random.chance(0.5) ? this.random.between(0, 200) : this.random.between(0, 3_000);
  }

  /** Looks again whether what was held up can pass. */
  poke(): void {
    for (const wire of this.#wires) wire.poke();
    for (const connection of this.#connections) connection.poke();
  }

  /** Every connection is reset. */
  reset(): void {
    for (const connection of [...this.#connections]) connection.reset();
  }

  /** The client's side of every connection breaks, and the server's goes on: for a while there are two of each. */
  linger(): void {
    for (const connection of [...this.#connections]) connection.linger();
  }

  /** Passes an answer to a renewal on, now or when they are not held up any more. */
  answerRenewal(pass: () => void): void {
    if (this.muteRenewals > 0) this.#heldAnswers.push(pass);
    else pass();
  }

  /** Passes on the answers that were held up. */
  releaseRenewals(): void {
    if (this.muteRenewals > 0) return;
    for (const pass of this.#heldAnswers.splice(0)) pass();
  }

  /** Lets a request through, now or when requests are not held up any more. */
  request(pass: () => void): void {
    if (this.deafToRequests > 0) this.#heldRequests.push(pass);
    else pass();
  }

  /** Lets the requests through that were held up. */
  releaseRequests(): void {
    if (this.deafToRequests > 0) return;
    for (const pass of this.#heldRequests.splice(0)) pass();
  }

  /** Connections that stand. */
  get connections(): number {
    return this.#connections.size;
  }

  /** @internal */
  enter(connection: Linked): void {
    this.#connections.add(connection);
    this.#wires.add(connection.up);
    this.#wires.add(connection.down);
  }

  /** @internal `up` may still carry what was sent before. */
  leave(connection: Linked): void {
    this.#connections.delete(connection);
    this.#wires.delete(connection.down);
    if (connection.up.closed) this.#wires.delete(connection.up);
  }
}

/** One direction of a connection. What is lost is sent again, so it comes late and in order, or never. */
export class Wire {
  closed = false;
  readonly #link: Link;
  readonly #direction: "up" | "down";
  #stuck: (() => void)[] = [];

  constructor(link: Link, direction: "up" | "down") {
    this.#link = link;
    this.#direction = direction;
  }

  send(lane: Lane, arrived: () => void): void {
    if (this.closed) return;
    const { agenda } = this.#link;
    lane.last = Math.max(lane.last, agenda.now + this.#link.latency());
    agenda.at(lane.last, () => this.#arrive(arrived));
  }

  poke(): void {
    if (this.#stuck.length === 0 || this.#link.blocked(this.#direction)) return;
    const { agenda } = this.#link;
    agenda.at(agenda.now + this.#link.repeatMs(), () => {
      if (this.#link.blocked(this.#direction)) return;
      const stuck = this.#stuck;
      this.#stuck = [];
      for (const arrived of stuck) agenda.at(agenda.now, () => this.#arrive(arrived));
    });
  }

  #arrive(arrived: () => void): void {
    if (this.closed) return;
    if (this.#stuck.length > 0 || this.#link.blocked(this.#direction)) this.#stuck.push(arrived);
    else arrived();
  }
}
