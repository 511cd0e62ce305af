import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { badOption, closedError, type SuccessionError } from "../errors.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { guarded } from "../log.ts";
import { anyKey, Pulse } from "../overview/pulse.ts";
import { version } from "../version.ts";
import type { Denial } from "./access.ts";
import { json } from "./answer.ts";
import { Elections } from "./elections.ts";
import { LeaseReader } from "./lease-reader.ts";
import type { BeatMessage } from "./messages.ts";
import { type CheckedDashboard, checkDashboard, type DashboardOptions } from "./options.ts";
import { PageFiles } from "./page-files.ts";
import { Routes } from "./routes.ts";
import { Viewers } from "./viewers.ts";

/** Viewers, and those who load the page or steer. */
const mostConnections = 512;
/** What is being answered gets so long to go out. */
const closeMs = 250;

/** A page that shows elections live and steers them, served over HTTP. */
export class Dashboard {
  /** Where it is, such as `http://127.0.0.1:8200/`. */
  readonly url: string;
  readonly #etcd: Etcd;
  readonly #settings: CheckedDashboard;
  readonly #server: Server;
  readonly #viewers: Viewers;
  readonly #elections: Elections;
  readonly #leases: LeaseReader;
  readonly #pulse: Pulse;
  readonly #closing = new AbortController();
  #away = false;
  #closed: Promise<void> | undefined;

  /**
   * Resolves when it listens. Rejects with `BAD_OPTION` for options that cannot be used, also where it cannot listen. It
   * serves through outages of etcd, and says so on the page.
   */
  static async open(options: DashboardOptions): Promise<Dashboard> {
    const settings = checkDashboard(options);
    const files = new PageFiles(options.pageFolder);
    const server = createServer({ keepAliveTimeout: 60_000, headersTimeout: 10_000, requestTimeout: 10_000 });
    server.maxConnections = mostConnections;
    await listen(server, settings);
    return new Dashboard(server, settings, files, options);
  }

  private constructor(
    server: Server,
    settings: CheckedDashboard,
    files: PageFiles,
    { etcd, logger: given }: DashboardOptions,
  ) {
    const logger = guarded(given ?? etcd.logger);
    const { host } = settings;
    const { port } = server.address() as AddressInfo;
    this.url = `http://${host.includes(":") ? `[${host}]` : host}:${port}/`;
    this.#etcd = etcd;
    this.#settings = settings;
    this.#server = server;
    this.#viewers = new Viewers(etcd.clock);
    this.#elections = new Elections({
      ...{ etcd, logger, settings },
      changed: (followed) => {
        const { election } = followed;
        if (!this.#viewers.watched.has(election) || followed.message === undefined) return;
        this.#viewers.tell("overview", followed.message, election);
      },
      changedInShort: (message) => this.#viewers.tell("elections", message),
    });
    this.#leases = new LeaseReader(etcd, {
      watched: () => [...this.#viewers.watched].flatMap((election) => this.#elections.get(election) ?? []),
      read: (message) => this.#viewers.tell("leases", message, message.election),
    });
    this.#pulse = new Pulse(etcd, anyKey, (error) => {
      // A refusal is an answer.
      this.#away = error?.code === "ETCD_UNAVAILABLE";
      this.#beat();
    });
    const routes = new Routes({
      ...{ etcd, settings, files, logger, elections: this.#elections, signal: this.#closing.signal },
      stream: (response, election) => this.#stream(response, election),
    });
    // Its trouble, such as no more open files, ends nothing: who comes later may be served again.
    server.on("error", (error) => logger.warn({ error }, "the dashboard's server is in trouble"));
    server.on("request", (request, response) => void routes.answer(request, response));
  }

  /** Ends streams and commands, and resolves when all has ended, in bounded time. The client stays open. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const { clock } = this.#etcd;
    const server = this.#server;
    this.#closing.abort(closedError("the dashboard"));
    this.#viewers.end();
    this.#pulse.stop();
    const cancel = clock.at(clock.now() + closeMs, () => server.closeAllConnections());
    const ended = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    await Promise.all([ended, this.#elections.close(), this.#leases.close()]);
    cancel();
  }

  /** Whoever begins to look is told everything; afterwards what changes. */
  #stream(response: ServerResponse, election: string | undefined): Denial | undefined {
    if (this.#viewers.full) {
      return {
        status: 503,
        code: "FULL",
        message: "too many are looking already; close a tab and try again",
      };
    }
    const stream = this.#viewers.add(response, election);
    const followed = election === undefined ? undefined : this.#elections.get(election);
    stream.send("hello", json({ version, steering: this.#settings.token !== undefined }));
    stream.send("beat", json(this.#beatFor(election)));
    const { inShort } = this.#elections;
    if (inShort !== undefined) stream.send("elections", json(inShort));
    if (followed?.message !== undefined) stream.send("overview", json(followed.message));
    if (this.#closing.signal.aborted) stream.end();
    return undefined;
  }

  #beat(): void {
    for (const [stream, election] of this.#viewers) stream.send("beat", json(this.#beatFor(election)));
  }

  /** A watch that says nothing proves nothing: without this a page would go on showing what was so before. */
  #beatFor(election: string | undefined): BeatMessage {
    const { clock } = this.#etcd;
    const away = this.#away ? clock.now() - this.#pulse.answeredAt : 0;
    const awayMs = Math.round(Math.max(away, this.#elections.get(election ?? "")?.staleMs ?? 0));
    return { time: clock.date().toISOString(), ...(awayMs > 0 ? { awayMs } : {}) };
  }
}

async function listen(server: Server, { host, port }: CheckedDashboard): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => reject(cannotListen(error, host, port));
    server.once("error", failed);
    server.listen({ host, port }, () => {
      server.off("error", failed);
      resolve();
    });
  });
}

function cannotListen({ code, message }: NodeJS.ErrnoException, host: string, port: number): SuccessionError {
  if (code === "EADDRINUSE") {
    return badOption("port", `one that nobody listens on at ${host} (choose another, or 0 for any)`, port);
  }
  if (code === "EACCES") return badOption("port", "one that this user may listen on (1024 or more)", port);
  return badOption("host", `an address of this machine (${message})`, host);
}
