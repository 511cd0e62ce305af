import { createServer, type Server } from "node:http";
import { type AddressInfo, isIPv6 } from "node:net";
import { badOption } from "../errors.ts";
import { exposition, expositionType, type MetricSource } from "../metric.ts";

export interface MetricsServerOptions {
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly source: MetricSource;
}

/** Answers `GET /metrics`, for what has no health endpoints of its own. */
export class MetricsServer {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Resolves when it listens. Rejects with `BAD_OPTION` where it cannot. */
  static async open({ host, port, source }: MetricsServerOptions): Promise<MetricsServer> {
    const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, (request, response) => {
      request.resume();
      const known = /^\/metrics(\?|$)/.test(request.url ?? "");
      const readable = request.method === "GET" || request.method === "HEAD";
      if (known && readable) {
        response.writeHead(200, { "content-type": expositionType, "cache-control": "no-store" });
        response.end(exposition(source.metrics()));
      } else {
        response.writeHead(known ? 405 : 404, { "content-type": "text/plain", allow: "GET, HEAD" });
        response.end("there is GET /metrics\n");
      }
    });
    await new Promise<void>((resolve, reject) => {
      // Also where it cannot take one connection later: the next may be taken.
      server.on("error", ({ code = "", message }: NodeJS.ErrnoException) => {
        reject(
          badOption("metrics", "an address and port to listen on", `${host}:${port} (${code || message})`),
        );
      });
      server.listen({ host, port }, resolve);
    });
    return new MetricsServer(server);
  }

  /** Where it listens, as `host:port`. */
  get address(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `${isIPv6(address) ? `[${address}]` : address}:${port}`;
  }

  /** Ends at once: nobody waits for metrics. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}
