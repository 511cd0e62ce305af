import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname } from "node:path";
import { securityHeaders } from "./answer.ts";

interface PageFile {
  readonly type: string;
  readonly body: Buffer;
  readonly tag: string;
}

const index = "/index.html";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** The page's files, read once: a request can name these and no others. */
export class PageFiles {
  readonly #files: ReadonlyMap<string, PageFile>;
  /** Named with the page, they are fetched at once, and not as each is found in another. */
  readonly #scripts: string;

  constructor(folder: URL | undefined) {
    const from = folder ?? new URL("./page/", import.meta.url);
    const names = readdirSync(from).filter((name) => types[extname(name)] !== undefined);
    this.#files = new Map(names.map((name) => [`/${name}`, fileOf(new URL(name, from))]));
    const scripts = names.filter((name) => name.endsWith(".js"));
    this.#scripts = scripts.map((name) => `<${name}>; rel=modulepreload`).join(", ");
  }

  has(path: string): boolean {
    return this.#files.has(nameOf(path));
  }

  answer(path: string, request: IncomingMessage, response: ServerResponse): void {
    const { type, body, tag } = this.#files.get(nameOf(path)) as PageFile;
    // A browser asks each time whether its copy is the newest: after an upgrade no file of the old page is left.
    const first = nameOf(path) === index ? { link: this.#scripts } : {};
    const headers = { ...securityHeaders, etag: tag, "cache-control": "no-cache", ...first };
    if (request.headers["if-none-match"] === tag) {
      response.writeHead(304, headers).end();
      return;
    }
    response.writeHead(200, { ...headers, "content-type": type, "content-length": body.length }).end(body);
  }
}

function nameOf(path: string): string {
  return path === "/" ? index : path;
}

function fileOf(url: URL): PageFile {
  const body = readFileSync(url);
  const tag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`;
  return { type: types[extname(url.pathname)] ?? "", body, tag };
}
