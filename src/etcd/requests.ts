import { setMaxListeners } from "node:events";
import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { Clock } from "../clock.ts";
import { badOption, closedError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { backoffMs, onAbort, sleep } from "../waiting.ts";
import { Authentication, type User } from "./authentication.ts";
import { classify, EtcdError, etcdError, grpc } from "./failure.ts";
import { Auth, KV, type ResponseHeader } from "./gen/etcd_pb.ts";
import { History } from "./history.ts";
import { LinkedSignal } from "./linked-signal.ts";
import type { Peer, Pool } from "./pool.ts";
import type { Call, Metadata, RpcStatus, Transport } from "./transport.ts";

/** How long a request may take, and what ends it early. */
export interface CallOptions {
  /** Gives the request up; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Milliseconds for all attempts together. @defaultValue 10000 */
  readonly timeoutMs?: number;
  /**
   * Milliseconds that one endpoint has for the answer, twice that where a connection must be opened first.
   * @defaultValue the client's
   */
  readonly attemptTimeoutMs?: number;
}

export interface RequestOptions extends CallOptions {
  /** Whether repeating a request that may have been carried out does no harm. */
  readonly idempotent: boolean;
}

/** An answer, and the instant before its request was sent. */
export interface Answer<T> {
  readonly response: T;
  readonly sentAt: number;
}

/** Something to ask an endpoint, as often as need be. */
export interface Question<T> {
  /** For errors and logs. */
  readonly name: string;
  send(transport: Transport, metadata: Metadata): Call<T>;
  /** The header of an answer that is of the newest state; undefined where the answer may be older. */
  newest?(response: T): ResponseHeader | undefined;
  /** Asked without a token. */
  readonly anonymous?: boolean;
  /** Answered by a member without a raft leader too. */
  readonly leaderless?: boolean;
}

type Outcome<T> =
  | { readonly at: "answered"; readonly answer: Answer<T> }
  | { readonly at: "failed"; readonly status: RpcStatus; readonly mayHaveApplied: boolean }
  /** The endpoint let its time pass. */
  | {
      readonly at: "silent";
      readonly status: RpcStatus;
      readonly mayHaveApplied: boolean;
      readonly sentAt: number;
    };

interface AttemptOptions {
  readonly signal: AbortSignal;
  readonly attemptTimeoutMs?: number | undefined;
  /** Told when the signal ends an attempt whose request is on its way. */
  readonly abandoned?: () => void;
}

export interface RequestsOptions {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly attemptTimeoutMs: number;
  readonly user: User | undefined;
}

const defaultTimeoutMs = 10_000;

/**
 * Asks one endpoint at a time until one answers or the time is over. What to do about anything else than an answer
 * says the table in failure.ts.
 */
export class Requests {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly attemptTimeoutMs: number;
  readonly history: History;
  readonly authentication: Authentication;
  readonly #closed = new AbortController();

  constructor({ pool, clock, logger, attemptTimeoutMs, user }: RequestsOptions) {
    this.pool = pool;
    this.clock = clock;
    this.logger = logger;
    this.attemptTimeoutMs = attemptTimeoutMs;
    // Every request under way listens to it, which is no leak: Node.js warns from the eleventh on.
    setMaxListeners(0, this.#closed.signal);
    this.history = new History(logger);
    this.authentication = new Authentication(user, async (credentials, withinMs) => {
      const question = { ...unary(Auth.method.authenticate, credentials), anonymous: true };
      const limits = withinMs === undefined ? {} : { attemptTimeoutMs: withinMs };
      return (await this.ask(question, { ...limits, idempotent: true })).response.token;
    });
  }

  /** Aborts when the client is closed. */
  get closedSignal(): AbortSignal {
    return this.#closed.signal;
  }

  /** Ends every request; they reject with `CLOSED`. */
  close(): void {
    this.#closed.abort(closedError("the etcd client"));
  }

  async ask<T>(question: Question<T>, options: RequestOptions): Promise<Answer<T>> {
    const { timeoutMs = defaultTimeoutMs, attemptTimeoutMs, idempotent } = options;
    checkMs("timeoutMs", timeoutMs);
    if (attemptTimeoutMs !== undefined) checkAttemptTimeoutMs(attemptTimeoutMs);
    // Over all attempts: when the second is refused, the first may still have taken effect.
    let mayHaveApplied = false;
    const abandoned = (): void => {
      mayHaveApplied = true;
    };
    // What others of this client heard meanwhile must not hide why this request was not answered.
    const heard = new Map<Peer, RpcStatus>();
    const timeIsUp = new Error("the time for the request is over");
    const over = new LinkedSignal(options.signal, this.#closed.signal);
    const until = this.clock.now() + timeoutMs;
    const cancelTimer = this.clock.at(until, () => over.abort(timeIsUp));
    try {
      for (let failures = 1, refusedTokens = 0; ; failures++) {
        if (this.clock.now() >= until) over.abort(timeIsUp);
        over.signal.throwIfAborted();
        if (question.anonymous !== true) await this.authentication.authorize(over.signal, attemptTimeoutMs);
        const peer = this.pool.current;
        const { token } = this.authentication;
        const outcome = await this.attempt(peer, question, {
          signal: over.signal,
          attemptTimeoutMs,
          abandoned,
        });
        if (outcome.at === "answered") {
          this.pool.succeeded(peer);
          return outcome.answer;
        }
        const { status } = outcome;
        const { remedy } = classify(status);
        mayHaveApplied ||= outcome.mayHaveApplied;
        heard.set(peer, status);
        this.logger.debug(
          { endpoint: peer.endpoint.name, request: question.name, status },
          "etcd attempt failed",
        );
        if (outcome.at === "silent") this.pool.timedOut(peer, status, outcome.sentAt);
        else if (remedy === "next-endpoint") this.pool.failed(peer, status);
        else peer.lastFailure = status;

        const hopeless = remedy === "authenticate" && !this.authentication.hasUser;
        if (remedy === "fatal" || remedy === "lease-gone" || hopeless || (mayHaveApplied && !idempotent)) {
          throw etcdError(status, question.name, peer.endpoint.name, mayHaveApplied);
        }
        if (remedy === "authenticate") {
          this.authentication.refused(token);
          // A fresh token is worth one try at once; a cluster that refuses fresh tokens is not worth a loop.
          if (refusedTokens++ === 0) continue;
        }
        // Every endpoint gets its turn before the first pause.
        const round = Math.floor(failures / this.pool.peers.length);
        if (round > 0) await sleep(this.clock, backoffMs(this.clock, round), over.signal);
      }
    } catch (error) {
      if (error === timeIsUp) throw this.unavailable(question.name, timeoutMs, mayHaveApplied, heard);
      throw error;
    } finally {
      cancelTimer();
      over.release();
    }
  }

  /** Asks one endpoint, once, within the time for one attempt. Rejects only with the signal's reason. */
  async attempt<T>(peer: Peer, question: Question<T>, options: AttemptOptions): Promise<Outcome<T>> {
    const { signal, attemptTimeoutMs = this.attemptTimeoutMs, abandoned } = options;
    signal.throwIfAborted();
    const patience = peer.transport.connected ? attemptTimeoutMs : 2 * attemptTimeoutMs;
    const { known } = this.history;
    const sentAt = this.clock.now();
    const call = question.send(peer.transport, this.metadata(question));
    // What has not left this process has changed nothing.
    const sent = (): boolean => call.unsent !== true;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        cancelTimer();
        forget();
      };
      const forget = onAbort(signal, () => {
        settle();
        if (sent()) abandoned?.();
        call.cancel();
        reject(signal.reason);
      });
      const cancelTimer = this.clock.at(sentAt + patience, () => {
        settle();
        const mayHaveApplied = sent();
        call.cancel();
        resolve({ at: "silent", status: silence(patience), mayHaveApplied, sentAt });
      });
      call.response.then(
        (response) => {
          settle();
          const header = question.newest?.(response);
          if (header !== undefined) this.history.check(known, header);
          resolve({ at: "answered", answer: { response, sentAt } });
        },
        (status: RpcStatus | Error) => {
          settle();
          // Not etcd's word but our own: the request could not be put into its format.
          if (status instanceof Error)
            return reject(badOption(question.name, "a request in etcd's format", status.message));
          resolve({ at: "failed", status, mayHaveApplied: sent() && classify(status).mayHaveApplied });
        },
      );
    });
  }

  /** What goes with a request or stream. */
  metadata(of: { readonly leaderless?: boolean; readonly anonymous?: boolean } = {}): Metadata {
    const { leaderless = false, anonymous = false } = of;
    const { token } = this.authentication;
    return {
      // A member without raft leader then says so at once, instead of letting the request or stream wait.
      ...(leaderless ? {} : { hasleader: "true" }),
      ...(token === undefined || anonymous ? {} : { token }),
    };
  }

  /** What endpoints said last that was no answer. */
  get troubles(): readonly string[] {
    return this.pool.peers.flatMap(({ endpoint, lastFailure }) =>
      lastFailure === undefined ? [] : [`${endpoint.name}: ${lastFailure.message}`],
    );
  }

  /** The error of a request that found no usable answer in time: it names each endpoint and what it said last. */
  unavailable(
    what: string,
    timeoutMs: number,
    mayHaveApplied: boolean,
    heard: ReadonlyMap<Peer, RpcStatus> = new Map(),
  ): EtcdError {
    const each = this.pool.peers.map((peer) => {
      const { message = "no answer yet" } = heard.get(peer) ?? peer.lastFailure ?? {};
      return `${peer.endpoint.name}: ${message}`;
    });
    return new EtcdError(
      "ETCD_UNAVAILABLE",
      `${what}: no usable answer from etcd within ${Math.round(timeoutMs)} ms (${each.join("; ")})`,
      grpc.unavailable,
      mayHaveApplied,
    );
  }
}

/** A question with one answer. */
export function unary<I extends DescMessage, O extends DescMessage>(
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
): Question<MessageShape<O>> {
  const question: Question<MessageShape<O>> = {
    name: method.name,
    send: (transport, metadata) => transport.unary(method, request, metadata),
  };
  if (!isLinearizable(method, request)) return question;
  return { ...question, newest: (response) => (response as { header?: ResponseHeader }).header };
}

/** Whether an answer is of the newest state: all of KV's but what a member answers from its own, perhaps old, state. */
function isLinearizable(method: DescMethodUnary, request: object): boolean {
  if (method.parent !== KV || method.name === KV.method.compact.name) return false;
  if (method.name !== KV.method.txn.name) return !isSerializable(request);
  const { success = [], failure = [] } = request as {
    success?: readonly { request?: { case?: string | undefined; value?: object } }[];
    failure?: readonly { request?: { case?: string | undefined; value?: object } }[];
  };
  // etcd answers a transaction locally if each of its operations may be; so also one without any.
  return [...success, ...failure].some(
    ({ request: op }) => op?.case !== "requestRange" || !isSerializable(op.value ?? {}),
  );
}

function isSerializable(range: object): boolean {
  return "serializable" in range && range.serializable === true;
}

export const silence = (ms: number): RpcStatus => ({
  code: grpc.deadlineExceeded,
  message: `no answer within ${Math.round(ms)} ms`,
});

export function checkAttemptTimeoutMs(ms: number): void {
  if (!Number.isFinite(ms) || ms <= 0)
    throw badOption("attemptTimeoutMs", "a number of milliseconds above 0", ms);
}

/** A time that is over already is none of the caller's mistakes: it comes from a deadline. */
export function checkMs(field: string, ms: number): void {
  if (typeof ms !== "number" || Number.isNaN(ms)) throw badOption(field, "a number of milliseconds", ms);
}
