import { systemClock } from "../clock.ts";
import { Listener } from "../devserver/listener.ts";
import { badOption } from "../errors.ts";
import type { EtcdOptions } from "../etcd/etcd.ts";
import { sleep } from "../waiting.ts";
import { checkOptions } from "./arguments.ts";
import { Link, type LinkOptions } from "./link.ts";
import { TestEtcd } from "./test-etcd.ts";

/** Where a test server listens. */
export interface TestServerOptions {
  /** An address of this machine. @defaultValue "127.0.0.1" */
  readonly host?: string;
  /** 0 takes a free one. @defaultValue 0 */
  readonly port?: number;
}

/**
 * etcd's v3 API on real sockets, in real time, with switches for faults. Members in this process and in others, Go
 * programs and `etcdctl` can use it; where they shall have faults of their own, each takes a link. In memory, without
 * authentication and TLS.
 */
export class TestServer extends TestEtcd {
  #main: Link | undefined;

  private constructor() {
    super(systemClock);
  }

  /** Starts a server; it takes requests when this resolves. Rejects with `BAD_OPTION` if it cannot listen there. */
  static async start(options: TestServerOptions = {}): Promise<TestServer> {
    const server = new TestServer();
    try {
      server.#main = await server.link(options);
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** The link that `start` opened. */
  override get main(): Link {
    if (this.#main === undefined) throw new RangeError("a server that was started has a main link");
    return this.#main;
  }

  /** Opens one more way to the same store, at an address of its own. Rejects with `BAD_OPTION`. */
  async link(options: TestServerOptions = {}): Promise<Link> {
    checkOptions(options, ["host", "port"]);
    const { host = "127.0.0.1", port = 0 } = options;
    if (typeof host !== "string" || host === "") throw badOption("host", "an address of this machine", host);
    const link = new SocketLink(this.linkOptions, host, port);
    try {
      await link.listen();
      return this.add(link);
    } catch (error) {
      // The server may have been closed meanwhile.
      await link.close();
      throw error;
    }
  }
}

/** A way over TCP, at one address for as long as it lives. */
class SocketLink extends Link {
  readonly #host: string;
  #port: number;
  #endpoint = "";
  #listener: Listener | undefined;

  constructor(options: LinkOptions, host: string, port: number) {
    super(options);
    this.#host = host;
    this.#port = port;
  }

  override get endpoint(): string {
    return this.#endpoint;
  }

  async listen(): Promise<void> {
    const [store, host, port] = [this.store(), this.#host, this.#port];
    this.#listener = await Listener.start({ store, host, port, gate: this.faults });
    this.#port = this.#listener.port;
    this.#endpoint = this.#listener.endpoint;
  }

  override async down(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    await listener?.close();
    this.faults.drop();
  }

  /** An outgoing connection may hold the port for a moment; whoever listens there keeps it. */
  protected override async up(): Promise<void> {
    for (let tries = 20; this.#listener === undefined; tries--) {
      try {
        await this.listen();
      } catch (error) {
        if (tries === 1) throw error;
        await sleep(systemClock, 50);
      }
    }
  }

  protected override connection(): Partial<EtcdOptions> {
    return {};
  }
}
