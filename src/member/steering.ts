import type { CancelTimer } from "../clock.ts";
import type { Candidacy } from "../concurrency/candidacy.ts";
import type { Candidate, Line } from "../concurrency/line.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { created } from "../etcd/ops.ts";
import type { Logger } from "../log.ts";
import { pauseKey } from "../steering/names.ts";
import { backoffMs } from "../waiting.ts";
import { Board } from "./board.ts";
import { handOver } from "./handing-over.ts";
import type { CheckedSettings } from "./options.ts";
import { type Step, steeringStep } from "./steering-step.ts";

export interface SteeringSurroundings {
  readonly etcd: Etcd;
  readonly logger: Logger;
  readonly settings: CheckedSettings;
  readonly line: Line;
  /** The newest candidacy, ended or not. */
  readonly candidacy: () => Candidacy | undefined;
  /** Why the service is not well. */
  readonly trouble: () => string | undefined;
}

/** What was not possible is tried again no sooner, unless somebody asks for it. */
const restMs = 3_000;
/** A request that could not be carried out, and stands. */
const retryMs = 300;
/** Before it makes room, a candidate lets the details of those who have just come arrive; doubled each time. */
const firstStepMs = 400;
const longestStepMs = 30_000;
/** Whoever has kept its place for so long makes room as fast as at first. */
const calmMs = 60_000;
const confirmMs = 3_000;

/**
 * A member's part in steering: as the leader it carries handovers out, as the first in waiting it makes room for higher
 * priorities, and unhealthy it gives up what it has. The others need not know of any of it, and do not look.
 */
export class Steering {
  readonly #of: SteeringSurroundings;
  #board: Board | undefined;
  /** Of which candidacy the rest tells. */
  #candidacy: Candidacy | undefined;
  readonly #seenAt: Map<bigint, number> = new Map();
  #looking = false;
  #busy = false;
  #stopped = false;
  #stepDueAt: number | undefined;
  #steps = 0;
  #steppedAt = Number.NEGATIVE_INFINITY;
  #restUntil = Number.NEGATIVE_INFINITY;
  #retryAt = Number.NEGATIVE_INFINITY;
  #cancelTimer: CancelTimer = () => {};
  #said = "";
  /** Why there was no handover, the last time. */
  #refusal = "";
  #refused = false;

  constructor(of: SteeringSurroundings) {
    this.#of = of;
  }

  /** Something has changed on which it may have to act. It acts in a turn of its own. */
  changed(): void {
    if (this.#looking || this.#stopped) return;
    this.#looking = true;
    queueMicrotask(() => {
      this.#looking = false;
      this.#look();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#forget();
  }

  #forget(): void {
    this.#cancelTimer();
    this.#board?.close();
    this.#board = undefined;
    this.#seenAt.clear();
    this.#stepDueAt = undefined;
    this.#restUntil = Number.NEGATIVE_INFINITY;
    this.#refusal = "";
  }

  #look(): void {
    if (this.#stopped) return;
    const candidacy = this.#of.candidacy();
    if (candidacy !== this.#candidacy) this.#forget();
    this.#candidacy = candidacy;
    if (candidacy === undefined || candidacy.endCause !== undefined) {
      this.#forget();
      return;
    }
    const leads = candidacy.term !== undefined;
    if (!leads && this.#of.trouble() !== undefined) {
      this.#forget();
      this.#of.logger.warn({ reason: this.#of.trouble() }, "unhealthy: leaving the line of succession");
      candidacy.end("unhealthy");
      return;
    }
    // Nothing is up to those who come later.
    if (!leads && candidacy.position > 1) {
      this.#forget();
      return;
    }
    this.#board ??= this.#openBoard();
    if (this.#busy) return;
    this.#cancelTimer();
    const step = this.#step(candidacy, leads);
    if (step.at !== "step-behind") this.#stepDueAt = undefined;
    this.#act(candidacy, step);
  }

  #openBoard(): Board {
    const { etcd, logger, settings } = this.#of;
    const { election, metaPrefix } = settings;
    return Board.open({
      ...{ etcd, election, metaPrefix },
      onChanged: () => this.changed(),
      onRefused: (error) => {
        if (this.#refused) return;
        this.#refused = true;
        logger.warn({ error }, "etcd refuses to show requests and priorities: this member cannot be steered");
      },
    });
  }

  #step(candidacy: Candidacy, leads: boolean): Step {
    const { settings, line, etcd } = this.#of;
    const { priority, switchBackAfterMs } = settings;
    const board = this.#board?.settled === true ? this.#board : undefined;
    const trouble = this.#of.trouble();
    if (trouble === undefined) this.#said = "";
    if (board === undefined) return { at: "none" };
    const now = etcd.clock.now();
    for (const { token } of line.candidates) if (!this.#seenAt.has(token)) this.#seenAt.set(token, now);
    return steeringStep({
      ...{ line: line.candidates, token: candidacy.token, leads, priority, switchBackAfterMs, trouble },
      ...{ paused: board.paused, request: board.request },
      priorityOf: ({ leaseId }) => board.priorityOf(leaseId),
      standingMs: ({ token }) => now - (this.#seenAt.get(token) ?? now),
    });
  }

  #act(candidacy: Candidacy, step: Step): void {
    const { clock } = this.#of.etcd;
    switch (step.at) {
      case "none":
        this.#sayUnhealthy(candidacy);
        return;
      case "wait":
        this.#lookIn(step.ms);
        return;
      case "hand-over": {
        const until = step.why === "request" ? this.#retryAt : this.#restUntil;
        if (until > clock.now()) this.#lookIn(until - clock.now());
        else void this.#alone(() => this.#handOver(candidacy, step));
        return;
      }
      case "step-behind": {
        if (clock.now() - this.#steppedAt > calmMs) this.#steps = 0;
        this.#stepDueAt ??= clock.now() + backoffMs(clock, this.#steps + 1, firstStepMs, longestStepMs);
        const dueInMs = Math.max(this.#stepDueAt, this.#restUntil) - clock.now();
        if (dueInMs > 0) this.#lookIn(dueInMs);
        else void this.#alone(() => this.#stepBehind(candidacy, step.before));
        return;
      }
    }
  }

  /** One thing at a time; what failed is looked at again after a rest. Never rejects. */
  async #alone(task: () => Promise<boolean>): Promise<void> {
    const { etcd, logger } = this.#of;
    this.#busy = true;
    const rest = (): void => {
      this.#restUntil = etcd.clock.now() + restMs * (0.75 + etcd.clock.random() / 2);
      this.#retryAt = etcd.clock.now() + retryMs;
    };
    try {
      if (!(await task())) rest();
    } catch (error) {
      rest();
      if (!etcd.closedSignal.aborted) logger.warn({ error }, "could not change the line of succession yet");
    } finally {
      this.#busy = false;
      this.changed();
    }
  }

  async #handOver(candidacy: Candidacy, step: Extract<Step, { at: "hand-over" }>): Promise<boolean> {
    const { etcd, logger, settings } = this.#of;
    const { election, metaPrefix } = settings;
    const { why, request, to, cause } = step;
    const asked = request === undefined ? {} : { request };
    const done = await handOver({ etcd, election, metaPrefix, candidacy, ...asked, to, cause });
    if (done.at === "refused") {
      const fields = { why, to, reason: done.reason };
      // A switch back that cannot be is tried again and again.
      if (this.#refusal === done.reason) logger.debug(fields, "still no handover");
      else logger.warn(fields, "no handover: this member leads on");
      this.#refusal = done.reason;
      return false;
    }
    const { target, passed } = done;
    const fields = { why, to: target.id, passed, by: request?.by, reason: this.#of.trouble() };
    logger.info(fields, "handing over");
    return true;
  }

  /** Gives its place up for good, if all is so that it makes sense. */
  async #stepBehind(candidacy: Candidacy, before: Candidate): Promise<boolean> {
    const { etcd, logger, settings, line } = this.#of;
    const { leader } = line;
    if (leader === undefined) return false;
    const compare = [
      created(pauseKey(settings.election, settings.metaPrefix), 0n),
      ...[leader, candidacy, before].map(({ key, token }) => created(key, token)),
    ];
    const limits = { timeoutMs: confirmMs, ...candidacy.session.attemptLimits, idempotent: true };
    const { response } = await etcd.call(KV.method.txn, { compare }, limits);
    if (!response.succeeded || candidacy.term !== undefined || candidacy.endCause !== undefined) return false;
    this.#steps++;
    this.#steppedAt = etcd.clock.now();
    logger.info({ before: before.id }, "making room for a candidate of higher priority");
    candidacy.end("handover");
    return true;
  }

  /** That an unhealthy member leads on is said once. */
  #sayUnhealthy(candidacy: Candidacy): void {
    const reason = this.#of.trouble();
    if (reason === undefined || candidacy.term === undefined) return;
    const why = this.#board?.paused === true ? "changes of leader are paused" : "nobody stands by";
    if (this.#said === why) return;
    this.#said = why;
    this.#of.logger.warn({ reason }, `unhealthy, and leading on: ${why}`);
  }

  #lookIn(ms: number): void {
    const { clock } = this.#of.etcd;
    this.#cancelTimer = clock.at(clock.now() + ms, () => this.changed());
  }
}
