import { type Clock, systemClock } from "../clock.ts";
import { SuccessionError } from "../errors.ts";
import { guarded, type Logger, silentLogger } from "../log.ts";
import { DataDir } from "./data-dir.ts";
import { openGate } from "./gate.ts";
import { Listener } from "./listener.ts";
import { Store } from "./store.ts";

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
  /** What the server serves, for tests that play fate. */
  readonly store: Store;
  readonly #listener: Listener;

  private constructor(store: Store, listener: Listener) {
    this.store = store;
    this.#listener = listener;
  }

  /**
   * Starts a server; it takes requests when this resolves.
   *
   * @throws SuccessionError `BAD_OPTION` if it cannot listen there, or `dataDir` is unusable.
   */
  static async start(options: DevServerOptions = {}): Promise<DevServer> {
    const { host = "127.0.0.1", port = 0, dataDir } = options;
    const { clock = systemClock, logger = silentLogger } = options;
    const store = openStore(clock, dataDir);
    let listener: Listener;
    try {
      listener = await Listener.start({ store, host, port, gate: openGate });
    } catch (error) {
      store.close();
      throw error;
    }
    guarded(logger).warn(
      { endpoint: listener.endpoint, revision: String(store.revision) },
      "development server: one member, data in memory only, no authentication, no TLS. NOT FOR PRODUCTION",
    );
    return new DevServer(store, listener);
  }

  get host(): string {
    return this.#listener.host;
  }

  /** The port it listens on. */
  get port(): number {
    return this.#listener.port;
  }

  /** `host:port`, as etcd's clients take it. */
  get endpoint(): string {
    return this.#listener.endpoint;
  }

  /** Ends every stream, then every connection, within a second. The data is gone with it. */
  close(): Promise<void> {
    const closed = this.#listener.close();
    this.store.close();
    return closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
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
