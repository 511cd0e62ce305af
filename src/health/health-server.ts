import { Worker } from "node:worker_threads";
import type { Clock } from "../clock.ts";
import { badOption, SuccessionError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { Metric } from "../metric.ts";
import type { FromHealthWorker, HealthWorkerData, ToHealthWorker } from "./health-worker.ts";
import { beatRegularly, sharedPulse } from "./heartbeat.ts";
import type { CheckedHealth } from "./options.ts";
import type { HealthReport } from "./report.ts";

export interface HealthServerOptions {
  readonly health: CheckedHealth;
  readonly ttlMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Asked in the main thread, for every answer but that of `/live`. */
  readonly report: () => HealthReport;
  /** Asked in the main thread for `/metrics`: what no report tells. */
  readonly metrics: () => readonly Metric[];
}

/** What answers under way get to go out before the thread is ended. */
const closeMs = 250;

/**
 * Answers health checks over HTTP from a thread of its own, so that `/live` has an answer when the main thread has none,
 * and the other endpoints one in bounded time.
 */
export class HealthServer {
  /** The port that it listens on. */
  readonly port: number;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #clock: Clock;
  readonly #stopBeating: () => void;
  #closing: Promise<void> | undefined;

  private constructor(worker: Worker, port: number, options: HealthServerOptions, stopBeating: () => void) {
    const { logger, report, metrics } = options;
    this.port = port;
    this.#worker = worker;
    this.#clock = options.clock;
    this.#stopBeating = stopBeating;
    this.#exited = new Promise((resolve) => {
      worker.once("exit", () => resolve());
    });
    worker.removeAllListeners("message").removeAllListeners("error");
    worker.on("message", (message: FromHealthWorker) => {
      if (message.on === "failed") logger.error({ ...message, port }, "the health endpoints are in trouble");
      if (message.on !== "question") return;
      const { question } = message;
      const answer: ToHealthWorker = {
        ...{ on: "report", question, report: report() },
        metrics: message.metrics ? metrics() : [],
      };
      worker.postMessage(answer);
    });
    worker.on("error", (error) => {
      logger.error({ error, port }, "the health endpoints have failed and answer no more");
    });
    // The process ends when the rest of it has ended.
    worker.unref();
  }

  /** Resolves when it listens. Rejects with `BAD_OPTION` where it cannot. */
  static async open(options: HealthServerOptions): Promise<HealthServer> {
    const { health, ttlMs, clock } = options;
    const pulse = sharedPulse(ttlMs);
    const stopBeating = beatRegularly(clock, pulse);
    const data: HealthWorkerData = { ...health, pulse };
    // Flags of this process, such as `--input-type`, need not suit the worker's file.
    const worker = new Worker(new URL("./health-worker.js", import.meta.url), {
      workerData: data,
      execArgv: [],
      name: "succession health",
    });
    try {
      return new HealthServer(worker, await listening(worker, health), options, stopBeating);
    } catch (error) {
      stopBeating();
      await worker.terminate();
      throw error;
    }
  }

  /** Answers what has been asked and goes away, in bounded time. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopBeating();
    // Whoever waits for this must not be left alone by a process that sees nothing else to do.
    this.#worker.ref();
    const message: ToHealthWorker = { on: "close" };
    this.#worker.postMessage(message);
    const cancel = this.#clock.at(this.#clock.now() + closeMs, () => void this.#worker.terminate());
    await this.#exited;
    cancel();
  }
}

function listening(worker: Worker, { host, port }: CheckedHealth): Promise<number> {
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("message", (message: FromHealthWorker) => {
      if (message.on === "listening") resolve(message.port);
      else if (message.on === "failed") reject(cannotListen(message, host, port));
    });
  });
}

function cannotListen(
  { code, message }: { readonly code: string; readonly message: string },
  host: string,
  port: number,
): SuccessionError {
  if (code === "EADDRINUSE") {
    const rule = `a port that nobody listens on at ${host} (free it, choose another, or 0 for any)`;
    return badOption("health.port", rule, port);
  }
  if (code === "EACCES")
    return badOption("health.port", "a port that this user may listen on (1024 or more)", port);
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
    return badOption("health.host", "an address of this machine", host);
  return new SuccessionError("BAD_OPTION", `health cannot listen on ${host}:${port}: ${message}`);
}
