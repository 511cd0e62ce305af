import type { CancelTimer } from "../clock.ts";
import { type Candidate, Line } from "../concurrency/line.ts";
import type { Etcd } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import type { CheckedGateway } from "./gateway-options.ts";
import { type Route, routeOf, sameRoute } from "./gateway-route.ts";
import { LeaderProof } from "./leader-proof.ts";
import { MemberBook } from "./member-book.ts";

/** Half of the least TTL that etcd grants by itself: until the leader's TTL is known. */
const leastMaxStaleMs = 1_000;
/** For a key without a lease, which does not end by itself. */
const leaselessMaxStaleMs = 5_000;
/** A member puts its details right behind its key; one of another kind never does. */
const detailsGraceMs = 250;

export interface ViewListener {
  /** Where new connections go has changed. Nothing may be passed on at all while the reason to wait is `stale`. */
  routeChanged(route: Route): void;
  /** The term is over, and it is not known yet in what way: `termEnded` follows within a moment. */
  termEnding(token: bigint): void;
  termEnded(token: bigint, planned: boolean): void;
}

/** An election as a gateway sees it: who leads, where, for how long that is proven, and how a leader went. */
export class GatewayView {
  readonly #etcd: Etcd;
  readonly #settings: CheckedGateway;
  readonly #logger: Logger;
  readonly #listener: ViewListener;
  readonly #line: Line;
  readonly #unsubscribe: () => void;
  readonly #book: MemberBook;
  readonly #proof: LeaderProof;
  #route: Route = { at: "wait", why: "starting", leader: undefined };
  #leader: Candidate | undefined;
  /** Whether the present leader has said that it hands over. */
  #draining = false;
  #detailsDueAt = 0;
  #cancelDue: CancelTimer = () => {};

  constructor(etcd: Etcd, settings: CheckedGateway, logger: Logger, listener: ViewListener) {
    const { election, metaPrefix, maxStaleMs = leastMaxStaleMs } = settings;
    this.#etcd = etcd;
    this.#settings = settings;
    this.#logger = logger;
    this.#listener = listener;
    this.#line = Line.acquire(etcd, election);
    this.#proof = new LeaderProof(this.#line, etcd.clock, maxStaleMs, () => this.look());
    this.#unsubscribe = this.#line.subscribe(() => this.look());
    this.#book = MemberBook.open({ etcd, election, metaPrefix, onChanged: () => this.look() });
  }

  /** Begins to tell the listener. */
  start(): void {
    this.#line.follow();
    this.look();
  }

  get route(): Route {
    return this.#route;
  }

  get proof(): LeaderProof {
    return this.#proof;
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    this.#cancelDue();
    this.#proof.close();
    this.#line.release();
    await this.#book.close();
  }

  /** Compares what is known with what was told. */
  look(): void {
    const { synced } = this.#line;
    if (synced) this.#see(this.#line.leader);
    const leader = this.#leader;
    const details = leader === undefined ? undefined : this.#book.of(leader.leaseId);
    if (details?.draining === true) this.#draining = true;
    const route = routeOf({
      ...{ synced, leader, details, draining: this.#draining, template: this.#settings.target },
      proven: this.#proof.stands,
      begun: this.#line.confirmedAt > Number.NEGATIVE_INFINITY,
      settled: this.#detailsSettled(leader),
    });
    if (sameRoute(route, this.#route)) return;
    this.#route = route;
    this.#listener.routeChanged(route);
  }

  #see(leader: Candidate | undefined): void {
    const before = this.#leader;
    const wasDraining = this.#draining;
    this.#leader = leader;
    if (before?.token === leader?.token) return;
    this.#draining = false;
    if (before !== undefined) this.#ended(before, wasDraining);
    if (leader === undefined) return;
    this.#detailsDueAt = this.#etcd.clock.now() + detailsGraceMs;
    void this.#learnTtl(leader);
  }

  /** Whether nothing more is to come of the leader's details. */
  #detailsSettled(leader: Candidate | undefined): boolean {
    if (leader === undefined || !this.#book.settled) return false;
    if (leader.leaseId === 0n || !this.#book.readable) return true;
    if (this.#etcd.clock.now() >= this.#detailsDueAt) return true;
    this.#cancelDue();
    this.#cancelDue = this.#etcd.clock.at(this.#detailsDueAt, () => this.look());
    return false;
  }

  /**
   * The key's deletion and the mark before it come by two watches, which keep no order: where the mark has not come,
   * the details as they were at the deletion tell.
   */
  #ended({ token, leaseId }: Candidate, planned: boolean): void {
    if (planned) {
      this.#listener.termEnded(token, true);
      return;
    }
    this.#listener.termEnding(token);
    void this.#book.wasDraining(leaseId, this.#line.revision).then((was) => {
      this.#listener.termEnded(token, was);
    });
  }

  /**
   * Half of the leader's TTL: it renews every third or so, so at least 0.63 of it are left to a leader that is cut off in
   * the same instant as this gateway. Never rejects.
   */
  async #learnTtl({ leaseId, token }: Candidate): Promise<void> {
    if (this.#settings.maxStaleMs !== undefined) return;
    if (leaseId === 0n) {
      this.#proof.maxStaleMs = leaselessMaxStaleMs;
      return;
    }
    try {
      const { grantedTtl } = await this.#etcd.leaseTimeToLive(leaseId);
      if (grantedTtl > 0n && this.#leader?.token === token) this.#proof.maxStaleMs = Number(grantedTtl) * 500;
    } catch (error) {
      const { maxStaleMs } = this.#proof;
      this.#logger.warn({ error, maxStaleMs }, "cannot read the TTL of the leader's lease");
    }
  }
}
