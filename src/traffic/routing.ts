import { setMaxListeners } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Clock } from "../clock.ts";
import type { Term } from "../concurrency/term.ts";
import type { Logger } from "../log.ts";
import type { SteppingDown } from "../member/companion.ts";
import type { Member } from "../member/member.ts";
import type { Metric } from "../metric.ts";
import { authority } from "./address.ts";
import { type Admission, Admissions } from "./admissions.ts";
import type { Exchange, Onward } from "./exchange.ts";
import { GuardCounters, type GuardFailure } from "./guard-counters.ts";
import { type CheckedGuard, checkWait } from "./guard-options.ts";
import { hopsHeader, hopsOf, stamp, tokenHeader } from "./headers.ts";
import { Holding } from "./holding.ts";
import { loopRefusal, refusal } from "./refusal.ts";
import { type Whereabout, Whereabouts } from "./whereabouts.ts";

/** Members pass a request on when the lead moves while it is on its way; oftener than this they go in circles. */
const mostHops = 5;
/** How long a former leader may still answer what was passed on to it. */
const supersededMs = 1_000;
/** Of the time to stop, a tenth is left for those to stop that were told to. */
const finishShare = 0.9;

const failureTexts: Readonly<Record<GuardFailure, string>> = {
  unreachable: "a request could not be passed on to the leader, and is tried again",
  broken: "the leader broke off a request that was passed on to it",
  late: "the leader has not answered a request that was passed on to it",
  stalled: "the leader stopped in the middle of an answer, which was broken off",
  full: "too many requests wait for a leader; refusing more",
  waited: "no leader took a request for as long as it may wait",
  loop: "members pass requests on in circles: the leader's address leads to the wrong place",
};

type Serve = (admission: Admission) => unknown;

/** Where each request goes: in here, on to the leader, or back; decided at the moment at which it goes. */
export class Routing {
  readonly #options: CheckedGuard;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #whereabouts: Whereabouts;
  readonly #admissions: Admissions;
  readonly #holding: Holding;
  readonly #admitted: WeakMap<IncomingMessage, Admission> = new WeakMap();
  /** Connections on which this member has served as the leader: their clients believe that it still leads. */
  readonly #served: WeakSet<object> = new WeakSet();
  #leaving = false;
  #passing: { readonly token: bigint; readonly superseded: AbortController } | undefined;
  readonly #counters: GuardCounters = new GuardCounters();
  readonly #labels: { readonly election: string; readonly id: string };
  /** What has been told of this leader; of more only the count is. */
  #told: { readonly token: bigint; readonly about: Set<GuardFailure> } | undefined;

  constructor(member: Member, options: CheckedGuard) {
    this.#options = options;
    const surroundings = member.accompany({
      stepDown: (how) => this.#stepDown(how),
      leaving: () => {
        this.#leaving = true;
        this.#admissions.closeAfter();
      },
      left: () => this.#whereabouts.left(),
      metrics: () => this.metrics(),
    });
    this.#labels = { election: member.election, id: member.id };
    this.#clock = surroundings.etcd.clock;
    this.#logger = surroundings.logger;
    this.#admissions = new Admissions(this.#clock);
    this.#holding = new Holding(this.#clock, options.hold.most);
    const wants = { lingerMs: options.lingerMs, addresses: options.otherwise !== "respond" };
    this.#whereabouts = new Whereabouts(member, surroundings, wants);
    this.#whereabouts.onChange(() => this.#changed());
  }

  get inFlight(): number {
    return this.#admissions.size;
  }

  get held(): number {
    return this.#holding.size;
  }

  metrics(): readonly Metric[] {
    return this.#counters.metrics(this.#labels, { inFlight: this.inFlight, held: this.held });
  }

  async drain(budgetMs: number): Promise<boolean> {
    checkWait("budgetMs", budgetMs);
    return await this.#admissions.drain(budgetMs);
  }

  admission(request: IncomingMessage): Admission | undefined {
    return this.#admitted.get(request);
  }

  /** Calls `serve` if the request is for this member: in the same turn, if it leads now. */
  take(exchange: Exchange, serve: Serve): void {
    const where = this.#whereabouts.now();
    if (where.at === "here") this.#serve(where.term, exchange, serve);
    else if (this.#options.otherwise === "forward") void this.#passOn(exchange, serve);
    else exchange.refuse(refusal(exchange, where, this.#options));
  }

  #serve(term: Term, exchange: Exchange, serve: Serve): void {
    const { request } = exchange;
    stamp(request, { [tokenHeader]: `${term.token}` });
    const [admission, ended] = this.#admissions.admit(term, exchange);
    this.#admitted.set(request, admission);
    this.#served.add(request.socket);
    const closed = new Promise<void>((resolve) => {
      exchange.onEnd(resolve);
    });
    try {
      // A rejection goes on to whoever looks after rejections in this process, as without a guard.
      void Promise.all([serve(admission), closed]).finally(ended);
    } catch (error) {
      ended();
      throw error;
    }
  }

  /** To the leader, as soon as there is one. Rejects only with what `serve` throws. */
  async #passOn(exchange: Exchange, serve: Serve): Promise<void> {
    const hops = hopsOf(exchange.request);
    const until = this.#clock.now() + this.#options.hold.timeoutMs;
    let trouble: Error | undefined;
    for (let tries = 0; !exchange.gone; ) {
      const where = this.#whereabouts.now();
      if (where.at === "here") {
        this.#serve(where.term, exchange, serve);
        return;
      }
      if (where.at === "there" && hops >= mostHops) {
        this.#failed("loop", where, new Error(`members have passed a request on ${hops} times`));
        exchange.refuse(loopRefusal(where, hops));
        return;
      }
      // A kept connection may have been closed on the other side, which the second try finds out.
      if (where.at === "there" && tries < 2) {
        tries++;
        trouble = await exchange.forward(this.#onward(exchange, hops, where));
        if (trouble === undefined) return;
        continue;
      }
      const leftMs = until - this.#clock.now();
      const hopeless = where.at === "nowhere" && where.hopeless;
      if (leftMs <= 0 || hopeless || !(await this.#hold(exchange, leftMs))) {
        if (!hopeless) this.#gaveUp(where, leftMs <= 0 ? "waited" : "full", trouble);
        exchange.refuse(refusal(exchange, where, this.#options, trouble));
        return;
      }
      tries = 0;
    }
  }

  /** Never rejects. */
  async #stepDown({ cause, budgetMs, lost }: SteppingDown): Promise<void> {
    const requests = this.#admissions.size;
    const inTime = await this.#admissions.finish(budgetMs * finishShare, lost);
    if (inTime) return;
    const fields = { cause, requests, budgetMs };
    this.#logger.warn(fields, "requests of the term had not ended in their time: their connections were cut");
  }

  #gaveUp(where: Whereabout, how: "waited" | "full", trouble: Error | undefined): void {
    const { most, timeoutMs } = this.#options.hold;
    const limit = how === "full" ? `${most} requests are held` : `it was held for ${timeoutMs} ms`;
    this.#failed(how, where, trouble ?? new Error(limit));
  }

  /** Counts it, and tells the first of its kind in a leader's term. */
  #failed(how: GuardFailure, where: Whereabout, error: Error): void {
    this.#counters.failures[how]++;
    const leader = where.at === "here" ? undefined : where.leader;
    const token = leader?.token ?? 0n;
    if (this.#told?.token !== token) this.#told = { token, about: new Set() };
    if (this.#told.about.has(how)) return;
    this.#told.about.add(how);
    const address = where.at === "there" ? authority(where.address) : undefined;
    const fields = { error, leader: leader?.id, token, address };
    this.#logger.warn(fields, `${failureTexts[how]}; of more in this term only the count is told`);
  }

  /** Waits until there may be news. False if there is no place to wait. */
  async #hold(exchange: Exchange, leftMs: number): Promise<boolean> {
    if (!this.#holding.enter()) return false;
    const { over, end } = this.#holding.pause(leftMs);
    const forget = exchange.onEnd(end);
    await over;
    forget();
    this.#holding.leave();
    return true;
  }

  #onward({ request }: Exchange, hops: number, where: Extract<Whereabout, { at: "there" }>): Onward {
    const { address, leader } = where;
    stamp(request, { [hopsHeader]: `${hops + 1}`, [tokenHeader]: `${leader.token}` });
    return {
      address,
      last: this.#leaving || this.#served.has(request.socket),
      answerTimeoutMs: this.#options.answerTimeoutMs,
      superseded: this.#supersededSignal(leader.token),
      reached: () => this.#holding.wake(),
      answered: () => {
        this.#counters.forwarded++;
      },
      failed: (how, error) => this.#failed(how, where, error),
    };
  }

  #supersededSignal(token: bigint): AbortSignal {
    if (this.#passing?.token !== token) {
      this.#passing = { token, superseded: new AbortController() };
      setMaxListeners(0, this.#passing.superseded.signal);
    }
    return this.#passing.superseded.signal;
  }

  #changed(): void {
    const where = this.#whereabouts.now();
    const passing = this.#passing;
    if (passing !== undefined && where.at !== "nowhere") {
      const token = where.at === "here" ? where.term.token : where.leader.token;
      if (token !== passing.token) {
        this.#passing = undefined;
        this.#clock.at(this.#clock.now() + supersededMs, () => passing.superseded.abort());
      }
    }
    this.#holding.wake();
  }
}
