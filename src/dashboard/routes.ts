import type { IncomingMessage, ServerResponse } from "node:http";
import type { Etcd } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import { type Denial, hostDenial, originDenial, tokenDenial } from "./access.ts";
import { answerJson, deny } from "./answer.ts";
import { type CommandName, denialOf, isCommand, perform } from "./commands.ts";
import type { Elections } from "./elections.ts";
import type { CheckedDashboard } from "./options.ts";
import type { PageFiles } from "./page-files.ts";
import { bodyOf } from "./request-body.ts";

/** A handover waits for half a minute; more at a time than this is no steering. */
const mostCommands = 16;

export interface RoutesOptions {
  readonly etcd: Etcd;
  readonly settings: CheckedDashboard;
  readonly files: PageFiles;
  readonly elections: Elections;
  readonly logger: Logger;
  /** Ends commands when the dashboard closes. */
  readonly signal: AbortSignal;
  /** Opens a stream of events; returns why not, where that is so. */
  stream(response: ServerResponse, election: string | undefined): Denial | undefined;
}

/**
 * Who asks what, and what to answer:
 *
 *     GET  /, /main.js, …              the page's files
 *     GET  /events?election=E          server-sent events, see messages.ts
 *     GET  /api/elections              the elections in short
 *     GET  /api/overview?election=E    one of them
 *     POST /api/token                  whether the token is the right one
 *     POST /api/handover, pause, resume
 */
export class Routes {
  readonly #options: RoutesOptions;
  #commands = 0;

  constructor(options: RoutesOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const denial = await this.#answer(request, response);
      if (denial === undefined) return;
      // The rest of a body that nobody wants is not waited for.
      const unread = request.method === "POST" && !request.complete;
      deny(response, denial, { ...denial.headers, ...(unread ? { connection: "close" } : {}) });
    } catch (error) {
      // The connection broke while the request was read.
      this.#options.logger.debug({ error }, "a request to the dashboard broke off");
      response.destroy();
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<Told | undefined> {
    const { settings, files } = this.#options;
    const foreign = hostDenial(request.headers.host, settings.hosts);
    if (foreign !== undefined) return foreign;
    const { pathname, searchParams } = urlOf(request);
    const [, name] = /^\/api\/([a-z]+)$/.exec(pathname) ?? [];
    const commands = name === "token" || (name !== undefined && isCommand(name));
    const reads =
      files.has(pathname) || pathname === "/events" || name === "elections" || name === "overview";
    if (!commands && !reads) return { status: 404, code: "NOT_FOUND", message: "there is nothing here" };
    const allowed = commands ? ["POST"] : ["GET", "HEAD"];
    const { method = "" } = request;
    if (!allowed.includes(method)) return wrongMethod(allowed);
    if (files.has(pathname)) {
      files.answer(pathname, request, response);
      return undefined;
    }
    const otherSite = originDenial(request.headers);
    if (otherSite !== undefined) return otherSite;
    if (commands) return await this.#command(name, request, response);
    const election = searchParams.get("election") ?? undefined;
    if (pathname === "/events" && method === "GET") return this.#options.stream(response, election);
    return this.#read(name, election, response);
  }

  #read(name: string | undefined, election: string | undefined, response: ServerResponse): Told | undefined {
    const { elections } = this.#options;
    if (name === undefined) return wrongMethod(["GET"]);
    const followed = elections.get(election ?? "");
    if (name === "overview" && followed === undefined) return notShown(election);
    const message = name === "overview" ? followed?.message : elections.inShort;
    if (message === undefined) {
      return { status: 503, code: "NOT_READ", message: "that has not been read from etcd yet; try again" };
    }
    answerJson(response, 200, message);
    return undefined;
  }

  async #command(
    name: "token" | CommandName,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<Told | undefined> {
    const { settings, elections, logger } = this.#options;
    const from = request.socket.remoteAddress;
    const denial = tokenDenial(request.headers, settings.token);
    if (denial !== undefined) {
      if (denial.code === "WRONG_TOKEN")
        logger.warn({ command: name, from }, "the dashboard's token was wrong");
      return denial.status === 401 ? { ...denial, headers: { "www-authenticate": "Bearer" } } : denial;
    }
    const read = await bodyOf(request);
    if ("denial" in read) return read.denial;
    if (name === "token") {
      answerJson(response, 200, {});
      return undefined;
    }
    const { election } = read.body;
    const followed = typeof election === "string" ? elections.get(election) : undefined;
    if (followed === undefined) return notShown(election);
    if (this.#commands >= mostCommands) {
      return {
        status: 429,
        code: "BUSY",
        message: `${mostCommands} commands are being carried out; try again`,
      };
    }
    this.#commands++;
    try {
      const { etcd, signal } = this.#options;
      const context = { etcd, metaPrefix: settings.metaPrefix, signal };
      const done = await perform(name, followed.election, read.body, context);
      logger.info({ command: name, election, from }, "the dashboard has steered");
      answerJson(response, 200, done);
      return undefined;
    } catch (error) {
      logger.info({ error, command: name, election, from }, "what was asked of the dashboard was not done");
      return denialOf(error);
    } finally {
      this.#commands--;
    }
  }
}

interface Told extends Denial {
  readonly headers?: Readonly<Record<string, string>>;
}

function wrongMethod(allowed: readonly string[]): Told {
  const allow = allowed.join(", ");
  return { status: 405, code: "WRONG_METHOD", message: `ask with ${allow}`, headers: { allow } };
}

/** Any prefix of etcd could be called an election: only those are told of that this dashboard was started for. */
function notShown(election: unknown): Told {
  const message = `election must be one that this dashboard shows, got ${JSON.stringify(election) ?? "nothing"}`;
  return { status: 404, code: "NOT_SHOWN", message };
}

function urlOf({ url = "" }: IncomingMessage): Pick<URL, "pathname" | "searchParams"> {
  const base = "http://localhost";
  // Two slashes would begin the name of a host.
  const path = url.replace(/^\/\/+/, "/");
  return URL.canParse(path, base)
    ? new URL(path, base)
    : { pathname: "", searchParams: new URLSearchParams() };
}
