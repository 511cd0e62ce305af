import { isIPv6 } from "node:net";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { type Clock, systemClock } from "../clock.ts";
import { badOption, SuccessionError } from "../errors.ts";
import { Auth, Cluster, KV, Lease, Maintenance, Watch } from "../etcd/gen/etcd_pb.ts";
import { Election } from "../etcd/gen/v3election_pb.ts";
import { Lock } from "../etcd/gen/v3lock_pb.ts";
import { guarded, type Logger, silentLogger } from "../log.ts";
import { DataDir } from "./data-dir.ts";
import { electionHandlers } from "./election-service.ts";
import {
  authHandlers,
  clusterHandlers,
  kvHandlers,
  leaseHandlers,
  maintenanceHandlers,
  watchHandlers,
} from "./etcd-services.ts";
import { addService } from "./grpc-service.ts";
import { lockHandlers } from "./lock-service.ts";
import { maxMessageBytes, Store } from "./store.ts";

export interface DevServerOptions {
  /** @defaultValue "127.0.0.1" */
  readonly host?: string;
  /** 0 takes a free one. @defaultValue 0 */
  readonly port?: number;
  /**
   * A folder, created if need be, in which the server remembers its ids and which revisions it
   * used: the next server there continues above them, so fencing tokens never go back. It does
   * not keep the data.
   */
  readonly dataDir?: string;
  /** @defaultValue the process's clock */
  readonly clock?: Clock;
  /** @defaultValue silent */
  readonly logger?: Logger;
}

/**
 * etcd's v3 API in this process, over gRPC: for development, demonstrations and tests.
 * One member without disk, authentication or TLS. Not for production.
 */
export class DevServer {
  readonly host: string;
  /** The port it listens on. */
  readonly port: number;
  /** What the server serves, for tests that play fate. */
  readonly store: Store;
  readonly #server: Server;
  readonly #closing: AbortController;
  #closed: Promise<void> | undefined;

  private constructor(host: string, port: number, store: Store, server: Server, closing: AbortController) {
    this.host = host;
    this.port = port;
    this.store = store;
    this.#server = server;
    this.#closing = closing;
  }

  /**
   * Starts a server; it takes requests when this resolves.
   *
   * @throws SuccessionError `BAD_OPTION` if it cannot listen there, or `dataDir` is unusable.
   */
  static async start(options: DevServerOptions = {}): Promise<DevServer> {
    const { host = "127.0.0.1", port: wantedPort = 0, dataDir } = options;
    const { clock = systemClock, logger = silentLogger } = options;
    if (!Number.isInteger(wantedPort) || wantedPort < 0 || wantedPort > 65_535) {
      throw badOption("port", "an integer from 0 to 65535", wantedPort);
    }
    const store = openStore(clock, dataDir);
    const server = new Server({
      // The library's defaults are meant for other services: a client holds a stream for each watch and lease.
      "grpc.max_concurrent_streams": 2 ** 31 - 1,
      "grpc.max_receive_message_length": maxMessageBytes,
      "grpc.max_send_message_length": -1,
    });
    const closing = new AbortController();
    let port = wantedPort;
    addServices(server, store, closing.signal, () => `http://${address(host, port)}`);
    try {
      port = await listen(server, host, wantedPort);
    } catch (error) {
      store.close();
      server.forceShutdown();
      throw error;
    }
    const devServer = new DevServer(host, port, store, server, closing);
    guarded(logger).warn(
      { endpoint: devServer.endpoint, revision: String(store.revision) },
      "development server: one member, data in memory only, no authentication, no TLS. NOT FOR PRODUCTION",
    );
    return devServer;
  }

  /** `host:port`, as etcd's clients take it. */
  get endpoint(): string {
    return address(this.host, this.port);
  }

  /** Ends every stream, then every connection, within a second. The data is gone with it. */
  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Calls end by their own status first: cut off with their connection, they would look as if
   * the client had cancelled them. The time limit is for clients that do not read, and so is
   * not the clock's, which may stand still.
   */
  #end(): Promise<void> {
    this.#closing.abort();
    this.store.close();
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

const graceMs = 500;

function addServices(server: Server, store: Store, closing: AbortSignal, clientUrl: () => string): void {
  addService(server, KV, kvHandlers(store));
  addService(server, Watch, watchHandlers(store));
  addService(server, Lease, leaseHandlers(store, closing));
  addService(server, Cluster, clusterHandlers(store, clientUrl));
  addService(server, Maintenance, maintenanceHandlers(store));
  addService(server, Auth, authHandlers(store));
  addService(server, Election, electionHandlers(store));
  addService(server, Lock, lockHandlers(store));
}

function openStore(clock: Clock, dataDir: string | undefined): Store {
  if (dataDir === undefined) return new Store({ clock });
  let dir: DataDir;
  try {
    dir = new DataDir(dataDir, clock);
  } catch (cause) {
    if (cause instanceof SuccessionError) throw cause;
    const problem = `dataDir ${dataDir} cannot be used: ${(cause as Error).message}`;
    throw new SuccessionError("BAD_OPTION", problem, { cause });
  }
  const { clusterId, memberId, firstRevision, reserve } = dir;
  return new Store({ clock, clusterId, memberId, firstRevision, onRevision: reserve });
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
