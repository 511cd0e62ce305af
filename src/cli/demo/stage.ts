import { Line } from "../../concurrency/line.ts";
import type { Etcd } from "../../etcd/etcd.ts";
import { onAbort } from "../../waiting.ts";
import type { Connection } from "../connection.ts";
import { Client } from "./client.ts";
import { instant, type Report } from "./protocol.ts";
import type { DemoRecord, Failover, FailoverKind } from "./record.ts";
import { Seat } from "./seat.ts";
import { duration } from "./timeline.ts";
import type { View } from "./view.ts";

const names = ["dc1", "dc2", "dc3"] as const;

/** A member that died by itself is started again after this; doubled while it goes on dying. */
const restartAfterMs = 1_000;
const longestRestartMs = 10_000;
/** The client waits so much longer than the TTL for a leader. */
const failoverMs = 3_000;

export interface StageOptions {
  readonly etcd: Etcd;
  readonly connection: Connection;
  readonly election: string;
  readonly ttlSeconds: number;
  /** Where the gateway takes the client's connections, as `host:port`. */
  readonly gateway: string;
  readonly title: string;
  readonly record: DemoRecord;
  /** Told in words what happens. */
  readonly tell: (text: string) => void;
}

/** Three members, a client, and what is known of them. */
export class Stage {
  readonly seats: readonly Seat[];
  readonly record: DemoRecord;
  readonly #options: StageOptions;
  readonly #line: Line;
  readonly #client: Client;
  readonly #served = new Map<string, number>();
  readonly #deaths = new Map<string, number>();
  readonly #timers: Set<NodeJS.Timeout> = new Set();
  readonly #waiting: Set<() => void> = new Set();
  #requests = { ok: 0, failed: 0 };
  #failure: Error | undefined;
  #closed = false;

  constructor(options: StageOptions) {
    const { etcd, connection, election, ttlSeconds, gateway, record } = options;
    this.#options = options;
    this.record = record;
    const listener = {
      reported: (seat: Seat, report: Report) => this.#reported(seat, report),
      ended: (seat: Seat, how: { at: number; expected: boolean; why: string }) => this.#ended(seat, how),
    };
    this.seats = names.map(
      (name) => new Seat(name, { on: "stand", election, ttlSeconds, connection }, listener),
    );
    this.#line = Line.acquire(etcd, election);
    this.#line.subscribe(() => this.#wake());
    this.#line.sync().catch((error: unknown) => this.#fail(error));
    const timeoutMs = ttlSeconds * 1_000 + failoverMs;
    this.#client = new Client(
      { address: gateway, timeoutMs },
      {
        served: () => this.#count("ok"),
        failed: () => this.#count("failed"),
      },
    );
    // One after the other, so that they stand in line by their names.
    this.seats[0]?.start();
  }

  /** The seat that acts as leader. */
  get leader(): Seat | undefined {
    return this.seats.find((seat) => seat.name === this.record.leader);
  }

  /** Whether somebody leads and all the others stand by. */
  get complete(): boolean {
    return this.leader !== undefined && this.seats.every((seat) => seat.state === "standing");
  }

  get view(): View {
    const now = instant();
    const { record } = this;
    const since = record.leaderlessSince;
    return {
      title: this.#options.title,
      seats: this.seats.map((seat) => ({
        ...{ name: seat.name, state: seat.state, address: seat.address },
        token: record.terms.findLast((term) => term.open && term.who === seat.name)?.token,
        served: this.#served.get(seat.name) ?? 0,
      })),
      line: this.#line.candidates.map(({ id }) => ({
        name: id.split(":")[0] ?? id,
        gone: !this.seats.some((seat) => seat.id === id) && !this.seats.some((seat) => starting(seat, id)),
      })),
      requests: this.#requests,
      leaderlessNowMs: since === undefined ? undefined : now - since,
      leaderlessMs: record.leaderlessMs(now),
      failovers: record.failovers.length,
      overlaps: record.overlaps(now).length,
    };
  }

  /** Waits until something is so. Rejects when the stage cannot go on, or with the signal's reason. */
  until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.#failure === undefined && !condition()) return;
        this.#waiting.delete(look);
        forget();
        if (this.#failure === undefined) resolve();
        else reject(this.#failure);
      };
      const forget = onAbort(signal, () => {
        this.#waiting.delete(look);
        reject(signal.reason);
      });
      if (signal.aborted) return;
      this.#waiting.add(look);
      look();
    });
  }

  /** Takes the leader away. */
  depose(kind: FailoverKind, leader: Seat): void {
    if (kind === "crash") {
      const at = leader.kill();
      this.record.died(leader.name, at);
      this.record.began(kind, leader.name, at);
    } else this.record.began(kind, leader.name, leader.leave());
    this.#wake();
  }

  /** Ends client and members, standbys first: the end of the demo is no failover. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#client.stop();
    for (const timer of this.#timers) clearTimeout(timer);
    const { leader } = this;
    for (const seat of this.seats) if (seat !== leader) this.record.died(seat.name, seat.kill());
    if (leader !== undefined) leader.kill();
    this.#line.release();
  }

  #reported(seat: Seat, report: Report): void {
    if (this.#closed) return;
    const { tell } = this.#options;
    const failover = this.record.reported(seat.name, report);
    if (report.on === "began") tell(beginning(seat, report.token, failover));
    if (report.on === "standing" && this.record.leader !== seat.name) tell(`${seat.name} stands in line`);
    if (report.on === "standing") {
      this.#deaths.delete(seat.name);
      this.seats.find((each) => each.state === "new")?.start();
    }
    if (report.on === "ended" && report.cause !== "resigned")
      tell(`${seat.name} leads no more: ${report.cause}`);
    // Nobody ever stood: the settings are wrong, and trying again would be no demonstration.
    if (report.on === "failed" && this.record.terms.length === 0) this.#fail(new Error(report.message));
    this.#wake();
  }

  #ended(seat: Seat, how: { readonly at: number; readonly expected: boolean; readonly why: string }): void {
    if (this.#closed) return;
    if (!how.expected) this.#died(seat, how.why);
    // Its last word is in: one that was asked to leave has said when it stopped, a broken one has not.
    const term = this.record.terms.findLast((each) => each.who === seat.name && each.open);
    if (term !== undefined) this.record.died(seat.name, term.end);
    this.#wake();
  }

  /** Somebody else killed it, or it broke. */
  #died(seat: Seat, why: string): void {
    const term = this.record.terms.findLast((each) => each.who === seat.name && each.open);
    // A failover that nobody here planned; it began after the last word at the earliest.
    if (term !== undefined && !this.record.pending) this.record.began("crash", seat.name, term.end);
    const deaths = (this.#deaths.get(seat.name) ?? 0) + 1;
    this.#deaths.set(seat.name, deaths);
    this.#options.tell(`${seat.name} died by itself (${why}); starting it again`);
    this.restart(seat, Math.min(restartAfterMs * 2 ** (deaths - 1), longestRestartMs));
  }

  /** Starts a seat's process again after a while. */
  restart(seat: Seat, afterMs: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#closed) return;
      seat.start();
      this.#wake();
    }, afterMs);
    this.#timers.add(timer);
  }

  #count(what: "ok" | "failed"): void {
    const { leader } = this.record;
    if (what === "ok") this.record.served();
    else this.record.failed();
    if (what === "ok" && leader !== undefined) this.#served.set(leader, (this.#served.get(leader) ?? 0) + 1);
    this.#requests = { ...this.#requests, [what]: this.#requests[what] + 1 };
  }

  /** Looks again whether what is waited for is so. */
  look(): void {
    this.#wake();
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
    this.#wake();
  }

  #wake(): void {
    for (const look of [...this.#waiting]) look();
  }
}

/** A member's key can be seen before its process says that it stands. */
function starting(seat: Seat, id: string): boolean {
  return seat.state === "starting" && id.startsWith(`${seat.name}:`);
}

function beginning(seat: Seat, token: bigint, failover: Failover | undefined): string {
  const leads = `${seat.name} leads with token ${token}`;
  if (failover === undefined) return leads;
  const since = failover.kind === "crash" ? "the crash" : "asking";
  return `${leads}, ${duration(failover.ms)} after ${since}`;
}
