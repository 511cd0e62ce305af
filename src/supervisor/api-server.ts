import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../clock.ts";
import { checkAnswer, type HealthAnswer, liveAnswer, type NoReport, statusAnswer } from "../health/answer.ts";
import { checkHealth, type HealthCheck } from "../health/options.ts";
import type { HealthReport } from "../health/report.ts";
import { exposition, expositionType, type MetricSource } from "../metric.ts";
import { ApiAccess, type Refusal } from "./api-access.ts";
import { EventStream } from "./api-events.ts";
import { listenOnSocket } from "./api-socket.ts";
import type { ProgramRole } from "./role.ts";
import type { StepDown } from "./step-down.ts";

/** Where to serve: a socket in the file system, or TCP. */
export type ApiPlace = { readonly path: string } | { readonly host: string; readonly port: number };

export interface ApiOptions {
  readonly at: ApiPlace;
  /** What a POST must bring over TCP; without it there is none. A socket has its mode. */
  readonly token: string | undefined;
}

/** What the API tells of. */
export interface ApiSource extends MetricSource {
  readonly clock: Clock;
  readonly ttlMs: number;
  readonly role: ProgramRole;
  report(): HealthReport | NoReport;
  /** Never rejects, and is bounded in time. */
  stepDown(): Promise<StepDown>;
}

/** Those who wait or listen, each; the rest must come again. */
const mostPatient = 64;
const mostConnections = 256;
const defaultWaitSeconds = 30;
const longestWaitSeconds = 600;
/** What is being answered gets so long to go out. */
const closeMs = 250;

const healthPaths: Readonly<Record<string, HealthCheck>> = {
  "/leader": "leader",
  "/primary": "primary",
  "/standby": "standby",
  "/health": "health",
  "/live": "live",
};
const reading = ["GET", "HEAD", "OPTIONS"];
const methods: Readonly<Record<string, readonly string[]>> = {
  "/role": reading,
  "/wait": reading,
  "/events": reading,
  "/step-down": ["POST", "OPTIONS"],
  "/status": reading,
  "/metrics": reading,
  ...Object.fromEntries(Object.keys(healthPaths).map((path) => [path, reading])),
};
const { codes } = checkHealth({ port: 0 });
const anyHost = "http://localhost";
const noUrl = { pathname: "", searchParams: new URLSearchParams() };

interface Answer {
  readonly status: number;
  /** Sent as JSON, unless it is text already. */
  readonly body?: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

const full: Answer = {
  status: 429,
  body: { reason: `${mostPatient} are waiting already` },
  headers: { "retry-after": "1" },
};

/** The API of one supervisor, for programs in any language and for people with curl. */
export class ApiServer {
  readonly #server: Server;
  readonly #source: ApiSource;
  /** Over TCP. */
  readonly #access: ApiAccess | undefined;
  readonly #streams: Set<EventStream> = new Set();
  readonly #waiting: Set<AbortController> = new Set();
  #closing = false;
  /** As a client needs it: the path of the socket, or a URL. */
  readonly address: string;

  /** Resolves when it listens; rejects where it cannot, saying why. */
  static async open({ at, token }: ApiOptions, source: ApiSource): Promise<ApiServer> {
    const server = createServer({ keepAliveTimeout: 60_000, headersTimeout: 10_000, requestTimeout: 10_000 });
    server.maxConnections = mostConnections;
    if ("path" in at) {
      await listenOnSocket(server, at.path);
      return new ApiServer(server, source, at.path, undefined);
    }
    const port = await listenOnPort(server, at.host, at.port);
    const host = at.host.includes(":") ? `[${at.host}]` : at.host;
    return new ApiServer(server, source, `http://${host}:${port}`, new ApiAccess(at.host, token));
  }

  private constructor(server: Server, source: ApiSource, address: string, access: ApiAccess | undefined) {
    this.#server = server;
    this.#source = source;
    this.#access = access;
    this.address = address;
    // Its trouble, such as no more open files, costs nobody a lead.
    server.on("error", () => {});
    server.on("request", (request, response) => void this.#respond(request, response));
    source.role.subscribe(() => {
      for (const stream of this.#streams) stream.send(this.#state);
    });
  }

  /** Ends what waits and listens, and goes away in bounded time. */
  async close(): Promise<void> {
    const { clock } = this.#source;
    this.#closing = true;
    for (const gone of this.#waiting) gone.abort();
    for (const stream of this.#streams) stream.end();
    const cancel = clock.at(clock.now() + closeMs, () => this.#server.closeAllConnections());
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeIdleConnections();
    });
    cancel();
  }

  /** The role at this moment, and for how long it is proven. */
  get #state(): object {
    const { role, clock } = this.#source;
    return { ...role.now, remainingMs: Math.floor(role.remainingMs), time: clock.date().toISOString() };
  }

  /** Never rejects. */
  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // No request here has a body that matters.
    request.resume();
    const refusal = this.#access?.refuseHost(request);
    const answer = refusal === undefined ? await this.#answer(request, response) : refused(refusal);
    if (answer !== undefined) send(response, answer);
  }

  /** What to send; nothing where that is seen to already. */
  async #answer(request: IncomingMessage, response: ServerResponse): Promise<Answer | undefined> {
    const { method = "", url = "" } = request;
    const { pathname, searchParams } = URL.canParse(url, anyHost) ? new URL(url, anyHost) : noUrl;
    const allowed = methods[pathname];
    if (allowed === undefined)
      return { status: 404, body: { reason: `there are ${Object.keys(methods).join(", ")}` } };
    const allow = { allow: allowed.join(", ") };
    if (!allowed.includes(method))
      return { status: 405, body: { reason: `ask with ${allow.allow}` }, headers: allow };
    if (method === "POST") return await this.#stepDown(request);
    const health = this.#health(pathname);
    // Balancers check by OPTIONS, too.
    if (health !== undefined) return method === "OPTIONS" ? { ...health, headers: allow } : health;
    if (method === "OPTIONS") return { status: 204, headers: allow };
    if (pathname === "/wait") return await this.#wait(searchParams, response);
    if (pathname === "/metrics") return metricsAnswer(exposition(this.#source.metrics()));
    if (pathname === "/role") return { status: 200, body: this.#state };
    if (method === "HEAD") return { status: 200, headers: EventStream.headers };
    return this.#stream(response);
  }

  #health(path: string): HealthAnswer | undefined {
    const { ttlMs } = this.#source;
    if (path === "/status") return statusAnswer(this.#source.report());
    const check = healthPaths[path];
    if (check === undefined) return undefined;
    // Who answers here is the main thread itself: while it is late, nobody answers.
    if (check === "live") return liveAnswer({ lateMs: 0, limitMs: ttlMs }, codes);
    return checkAnswer(check, this.#source.report(), codes);
  }

  async #wait(query: URLSearchParams, response: ServerResponse): Promise<Answer> {
    const { clock, role } = this.#source;
    const wanted = query.get("role");
    const text = query.get("timeout") ?? String(defaultWaitSeconds);
    const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (wanted !== "leader" && wanted !== "standby")
      return { status: 400, body: { reason: "role must be leader or standby" } };
    if (!(seconds <= longestWaitSeconds))
      return { status: 400, body: { reason: `timeout must be from 0 to ${longestWaitSeconds} seconds` } };
    if (this.#waiting.size >= mostPatient) return full;
    const gone = new AbortController();
    if (this.#closing) gone.abort();
    response.once("close", () => gone.abort());
    this.#waiting.add(gone);
    const reached = await role.within(clock, wanted, seconds * 1_000, gone.signal);
    this.#waiting.delete(gone);
    return { status: reached ? 200 : 503, body: this.#state };
  }

  #stream(response: ServerResponse): Answer | undefined {
    if (this.#streams.size >= mostPatient) return full;
    const stream = new EventStream(this.#source.clock, response);
    this.#streams.add(stream);
    response.once("close", () => this.#streams.delete(stream));
    stream.send(this.#state);
    if (this.#closing) stream.end();
    return undefined;
  }

  async #stepDown(request: IncomingMessage): Promise<Answer> {
    const refusal = this.#access?.refuseChange(request);
    if (refusal !== undefined) return refused(refusal);
    const done = await this.#source.stepDown();
    if (done.at === "given-up") return { status: 202, body: this.#state };
    return { status: done.at === "refused" ? 409 : 503, body: { ...this.#state, reason: done.reason } };
  }
}

function metricsAnswer(body: string): Answer {
  return { status: 200, body, headers: { "content-type": expositionType } };
}

function refused({ status, reason }: Refusal): Answer {
  return {
    status,
    body: { reason },
    headers: status === 401 ? { "www-authenticate": "Bearer" } : {},
  };
}

function send(response: ServerResponse, { status, body, headers = {} }: Answer): void {
  const text = textOf(body);
  response.writeHead(status, {
    ...(body === undefined
      ? {}
      : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
    "cache-control": "no-store",
    ...headers,
  });
  // To a HEAD Node.js sends the headers alone.
  response.end(text);
}

function textOf(body: Answer["body"]): string {
  if (body === undefined || typeof body === "string") return body ?? "";
  return `${JSON.stringify(body)}\n`;
}

async function listenOnPort(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    const failed = ({ code, message }: NodeJS.ErrnoException): void => {
      const why = code === "EADDRINUSE" ? "the port is in use; choose another" : message;
      reject(new Error(`cannot serve the API on ${host}:${port}: ${why}`));
    };
    server.once("error", failed);
    server.listen({ host, port }, () => {
      server.off("error", failed);
      resolve();
    });
  });
  return (server.address() as AddressInfo).port;
}
