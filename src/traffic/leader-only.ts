import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { badOption } from "../errors.ts";
import type { Member } from "../member/member.ts";
import type { Metric } from "../metric.ts";
import type { Admission } from "./admissions.ts";
import { checkGuard, type LeaderOnlyOptions } from "./guard-options.ts";
import { RequestExchange } from "./request-exchange.ts";
import { Routing } from "./routing.ts";
import { UpgradeExchange } from "./upgrade-exchange.ts";

/** What Fastify hands to a hook, as far as the guard uses it. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage;
}
export interface FastifyReplyLike {
  readonly raw: ServerResponse;
  hijack(): unknown;
}

/** What Hono hands to a middleware on `@hono/node-server`, as far as the guard uses it. */
export interface HonoContextLike {
  readonly env: unknown;
}

/**
 * Lets requests pass only while this member leads; see `leaderOnly`. A request is let in only while `member.term` stands.
 * When a term ends in order (`member.leave()`), the member's key is deleted when the requests in flight have ended, or
 * their part of `stopTimeoutMs` is over; when it is lost, they are told to stop at once.
 */
export class LeaderOnly {
  readonly #routing: Routing;

  /** @internal */
  constructor(member: Member, options: LeaderOnlyOptions) {
    this.#routing = new Routing(member, checkGuard(options));
  }

  /** How many requests and upgraded connections are being served here. */
  get inFlight(): number {
    return this.#routing.inFlight;
  }

  /** How many wait because nobody leads. */
  get held(): number {
    return this.#routing.held;
  }

  /**
   * Waits for the requests in flight. Those that are left after `budgetMs` have their signal aborted and their connection
   * cut. Resolves to whether all have ended by themselves. Stepping down does this; it need not be called. Rejects with
   * `BAD_OPTION`.
   */
  drain(budgetMs: number): Promise<boolean> {
    return this.#routing.drain(budgetMs);
  }

  /** What it has counted, as metrics; those of its member, and so `/metrics`, hold it already. */
  metrics(): readonly Metric[] {
    return this.#routing.metrics();
  }

  /** The leave by which a request is served: its token, and the signal that tells it to stop. */
  admission(request: IncomingMessage): Admission | undefined {
    return this.#routing.admission(request);
  }

  /**
   * A listener for `node:http` that calls yours only as the leader. The request is in flight until it is answered and
   * what yours returns has settled.
   */
  listener(
    serve: (request: IncomingMessage, response: ServerResponse, admission: Admission) => unknown,
  ): RequestListener {
    return (request, response) => {
      const exchange = new RequestExchange(request, response);
      this.#routing.take(exchange, (admission) => serve(request, response, admission));
    };
  }

  /** For Express and everything else that takes `(request, response, next)`: `app.use(guard.handle)`. */
  readonly handle = (
    request: IncomingMessage,
    response: ServerResponse,
    next: (error?: unknown) => unknown,
  ): void => {
    this.#routing.take(new RequestExchange(request, response), () => next());
  };

  /** For Fastify: `app.addHook("onRequest", guard.fastify)`. */
  readonly fastify = (request: FastifyRequestLike, reply: FastifyReplyLike, done: () => void): void => {
    this.#routing.take(new RequestExchange(request.raw, reply.raw, () => reply.hijack()), () => done());
  };

  /** For Hono on `@hono/node-server`, before other middleware: `app.use(guard.hono)`. */
  readonly hono = (context: HonoContextLike, next: () => Promise<void>): Promise<Response | undefined> => {
    const { incoming, outgoing } = context.env as { incoming: IncomingMessage; outgoing: ServerResponse };
    return new Promise((resolve, reject) => {
      const taken = (): void => resolve(alreadySent());
      const exchange = new RequestExchange(incoming, outgoing, taken);
      exchange.onEnd(taken);
      this.#routing.take(exchange, () => next().then(() => resolve(undefined), reject));
    });
  };

  /** A listener for the server's `upgrade` event, such as for WebSocket, that calls yours only as the leader. */
  upgrade(
    serve: (request: IncomingMessage, socket: Duplex, head: Buffer, admission: Admission) => unknown,
  ): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
    return (request, socket, head) => {
      const exchange = new UpgradeExchange(request, socket, head);
      this.#routing.take(exchange, (admission) => serve(request, socket, head, admission));
    };
  }
}

/**
 * What `@hono/node-server` takes for "the answer is written already". It sees that only in a response of the platform's
 * own class, not in one of the lighter class that it puts in its place; a clone is always of the former.
 */
function alreadySent(): Response {
  return new Response(null, { headers: { "x-hono-already-sent": "true" } }).clone();
}

/**
 * A guard for an HTTP server: requests pass only while `member` leads, and carry its fencing token in
 * `X-Succession-Token`. What becomes of the others, `otherwise` says. Headers that begin with `X-Succession-` are taken
 * away from whatever comes in. Throws `BAD_OPTION`.
 */
export function leaderOnly(member: Member, options: LeaderOnlyOptions = {}): LeaderOnly {
  // By its shape: it may come from another copy of this package.
  if (typeof member?.accompany !== "function")
    throw badOption("member", "what Member.join resolves to", member);
  return new LeaderOnly(member, options);
}
