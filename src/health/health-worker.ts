import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../clock.ts";
import { exposition, expositionType, type Metric } from "../metric.ts";
import { checkAnswer, type HealthAnswer, liveAnswer, type NoReport, statusAnswer } from "./answer.ts";
import { pulseNow, type SharedPulse } from "./heartbeat.ts";
import { type CheckedHealth, checks, type HealthCheck } from "./options.ts";
import { aged, type HealthReport, unproven } from "./report.ts";
import { stateMetrics } from "./state-metrics.ts";

/** What the worker is started with. */
export interface HealthWorkerData extends CheckedHealth {
  readonly pulse: SharedPulse;
}

/** How the member is, and where that was asked for what it has measured. */
interface Told {
  readonly report: HealthReport;
  readonly metrics: readonly Metric[];
}

/** What the main thread sends. */
export type ToHealthWorker =
  | ({ readonly on: "report"; readonly question: number } & Told)
  | { readonly on: "close" };

/** What the worker sends. */
export type FromHealthWorker =
  | { readonly on: "listening"; readonly port: number }
  | { readonly on: "failed"; readonly code: string; readonly message: string }
  | { readonly on: "question"; readonly question: number; readonly metrics: boolean };

/** How long the main thread has to say how it is: less than balancers wait for an answer. */
const patienceMs = 500;
/** Statuses, as `codes` may set them, whose answers have no body. */
const bodiless: ReadonlySet<number> = new Set([204, 304]);
const allow = "GET, HEAD, OPTIONS";
const endpoints = [...checks, "status", "metrics"].map((name) => `/${name}`);

const { port, host, codes, pulse } = workerData as HealthWorkerData;
const main = parentPort;
if (main === null) throw new Error("the health worker runs in a worker thread");
const waiting: Map<number, (told: Told | NoReport) => void> = new Map();
let questions = 0;
/** What `/metrics` was last told, and when: all that is known while the main thread is blocked. */
let latest: (Told & { readonly at: number }) | undefined;

// Balancers keep connections open between checks that come seconds apart; whoever dawdles is no balancer.
const server = createServer({ keepAliveTimeout: 60_000, headersTimeout: 10_000, requestTimeout: 10_000 });
server.on("request", (request, response) => void respond(request, response));
server.on("error", ({ code = "", message }: NodeJS.ErrnoException) => {
  send({ on: "failed", code, message });
});
server.listen({ port, host }, () => {
  send({ on: "listening", port: (server.address() as AddressInfo).port });
});

main.on("message", (message: ToHealthWorker) => {
  if (message.on === "report") {
    waiting.get(message.question)?.(message);
    return;
  }
  // What is being answered goes out; the thread ends with its last connection.
  server.close();
  main.unref();
});

/** Never rejects. */
async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
  request.resume();
  const name = endpointOf(request.url ?? "");
  if (!["GET", "HEAD", "OPTIONS"].includes(request.method ?? "")) {
    write(response, { status: 405, body: { reason: `ask with ${allow}` } });
  } else if (name === "live") {
    write(response, liveAnswer(pulseNow(pulse), codes));
  } else if (name === "status" || isCheck(name)) {
    const askedAt = systemClock.now();
    const told = await ask();
    // The report may have been long on its way: what it proves is counted from the question to this very moment.
    const report = "report" in told ? aged(told.report, systemClock.now() - askedAt) : told;
    write(response, name === "status" ? statusAnswer(report) : checkAnswer(name, report, codes));
  } else if (name === "metrics") {
    await writeMetrics(response);
  } else {
    write(response, { status: 404, body: { reason: `there are ${endpoints.join(", ")}` } });
  }
}

/** How the member is; within bounded time, whatever the main thread does. */
function ask(metrics = false): Promise<Told | NoReport> {
  const question = ++questions;
  return new Promise((resolve) => {
    const answered = (told: Told | NoReport): void => {
      cancel();
      waiting.delete(question);
      resolve(told);
    };
    const cancel = systemClock.at(systemClock.now() + patienceMs, () => {
      answered({ reason: "the event loop is blocked" });
    });
    waiting.set(question, answered);
    send({ on: "question", question, metrics });
  });
}

/** While the main thread is blocked: what it said last, but not that it leads, as `/leader` does not say so either. */
async function writeMetrics(response: ServerResponse): Promise<void> {
  const askedAt = systemClock.now();
  const told = await ask(true);
  const fresh = "report" in told;
  const known = fresh ? { ...told, at: askedAt } : latest;
  if (known === undefined) {
    write(response, { status: 503, body: told });
    return;
  }
  latest = known;
  const ageMs = systemClock.now() - known.at;
  const report = fresh ? aged(known.report, ageMs) : unproven(known.report, ageMs, told.reason);
  writeText(response, 200, expositionType, exposition([...stateMetrics(report), ...known.metrics]));
}

function write(response: ServerResponse, { status, body }: HealthAnswer): void {
  writeText(response, status, "application/json", `${JSON.stringify(body)}\n`);
}

function writeText(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, {
    // A 204 has no body to speak of: RFC 9110 forbids to name its length.
    ...(bodiless.has(status) ? {} : { "content-type": type, "content-length": Buffer.byteLength(text) }),
    "cache-control": "no-store",
    ...(response.req.method === "OPTIONS" || status === 405 ? { allow } : {}),
  });
  // To a HEAD Node.js sends the headers alone; an OPTIONS is a GET whose body nobody reads, as HAProxy sends it.
  response.end(text);
}

/** The endpoint's name; a query, and the origin that some proxies send along, mean nothing. */
function endpointOf(url: string): string {
  return url
    .replace(/^https?:\/\/[^/]*/i, "")
    .replace(/\?.*$/, "")
    .slice(1);
}

function isCheck(name: string): name is Exclude<HealthCheck, "live"> {
  return checks.some((check) => check === name);
}

function send(message: FromHealthWorker): void {
  main?.postMessage(message);
}
