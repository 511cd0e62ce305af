import { setMaxListeners } from "node:events";
import { isIPv6 } from "node:net";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { systemClock } from "../clock.ts";
import { badOption, SuccessionError } from "../errors.ts";
import type { Gate } from "./gate.ts";
import { addService } from "./grpc-service.ts";
import { servicesOf } from "./services.ts";
import { maxMessageBytes, type Store } from "./store.ts";

export interface ListenerOptions {
  readonly store: Store;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly gate: Gate;
}

/** Connections that end late are cut off after so long. */
const graceMs = 500;

/** An address at which a store is served over gRPC. A store may have several. */
export class Listener {
  readonly host: string;
  readonly port: number;
  readonly #server: Server;
  readonly #closing: AbortController;
  #closed: Promise<void> | undefined;

  private constructor(host: string, port: number, server: Server, closing: AbortController) {
    this.host = host;
    this.port = port;
    this.#server = server;
    this.#closing = closing;
  }

  /** It takes requests when this resolves. Throws `BAD_OPTION` if it cannot listen there. */
  static async start({ store, host, port: wantedPort, gate }: ListenerOptions): Promise<Listener> {
    if (!Number.isInteger(wantedPort) || wantedPort < 0 || wantedPort > 65_535) {
      throw badOption("port", "an integer from 0 to 65535", wantedPort);
    }
    const server = new Server({
      // The library's defaults are meant for other services: a client holds a stream for each watch and lease.
      "grpc.max_concurrent_streams": 2 ** 31 - 1,
      "grpc.max_receive_message_length": maxMessageBytes,
      "grpc.max_send_message_length": -1,
    });
    const closing = new AbortController();
    // One listener a call: hundreds of clients are no leak.
    setMaxListeners(0, closing.signal);
    let port = wantedPort;
    for (const service of servicesOf(store, () => `http://${address(host, port)}`)) {
      addService(server, service, { gate, closing: closing.signal });
    }
    try {
      port = await listen(server, host, wantedPort);
    } catch (error) {
      server.forceShutdown();
      throw error;
    }
    return new Listener(host, port, server, closing);
  }

  /** `host:port`, as etcd's clients take it. */
  get endpoint(): string {
    return address(this.host, this.port);
  }

  /**
   * Ends every call, then every connection, within a second. Calls end by their own status first: cut off with their
   * connection, they would look as if the client had cancelled them. The time limit is for clients that do not read,
   * and so is not that of a clock which may stand still.
   */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  #end(): Promise<void> {
    this.#closing.abort();
    return new Promise((resolve) => {
      const cancel = systemClock.at(systemClock.now() + graceMs, () => this.#server.forceShutdown());
      this.#server.tryShutdown(() => {
        cancel();
        this.#server.forceShutdown();
        resolve();
      });
    });
  }
}

function listen(server: Server, host: string, port: number): Promise<number> {
  const wanted = address(host, port);
  return new Promise((resolve, reject) => {
    server.bindAsync(wanted, ServerCredentials.createInsecure(), (cause, bound) => {
      const problem = cause === null ? "" : `cannot listen on ${wanted}: ${reason(cause)}`;
      if (cause === null) resolve(bound);
      else reject(new SuccessionError("BAD_OPTION", problem, { cause }));
    });
  });
}

/** grpc-js wraps what the system said in a count of addresses. */
function reason({ message }: Error): string {
  return /errors: \[(.*)\]/.exec(message)?.[1] ?? message;
}

function address(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}
