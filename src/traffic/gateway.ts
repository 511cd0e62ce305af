import { type AddressInfo, createServer, isIPv6, type Server } from "node:net";
import { badOption, SuccessionError } from "../errors.ts";
import { Etcd } from "../etcd/etcd.ts";
import { LinkedSignal } from "../etcd/linked-signal.ts";
import { Feed } from "../feed.ts";
import { guarded, type Logger } from "../log.ts";
import type { Metric } from "../metric.ts";
import { onAbort } from "../waiting.ts";
import { gatewayMetrics } from "./gateway-metrics.ts";
import { type CheckedGateway, checkGateway, checkMs, type GatewayOptions } from "./gateway-options.ts";
import type { Route, WaitReason } from "./gateway-route.ts";
import { type GatewayCounters, type GatewayStats, newCounters } from "./gateway-stats.ts";
import { GatewayView } from "./gateway-view.ts";
import { bufferBytes, keepAliveMs } from "./leader-connection.ts";
import { openFilesLimit } from "./open-files.ts";
import { proxyHeader } from "./proxy-protocol.ts";
import { Relays } from "./relays.ts";
import { WaitingRoom } from "./waiting-room.ts";

/** Files that a process has open beside its clients' connections. */
const ownFiles = 64;
/** Fewer are worth a word. */
const wantedConnections = 10_000;
/** Connection requests that the kernel keeps, where it allows so many. */
const backlog = 4_096;

/** Where a gateway sends new connections. */
export interface GatewayChange {
  readonly at: "open" | "wait";
  /** Why connections wait. */
  readonly why: WaitReason | undefined;
  /** Who leads. */
  readonly leader: string | undefined;
  readonly token: bigint | undefined;
  /** Where connections go. */
  readonly address: string | undefined;
  /** How many changes before this one a slow reader missed. */
  readonly skipped: number;
}

/**
 * Passes TCP connections on to whoever leads an election. It stands in no line and holds no lease: it acts only on a
 * leader that a linearizable read has lately confirmed, so there may be any number of gateways.
 */
export class Gateway implements AsyncDisposable {
  readonly election: string;
  /** How many connections the limit of open files allows at a time; `undefined` where the system does not tell. */
  readonly maxConnections: number | undefined;
  readonly #settings: CheckedGateway;
  readonly #etcd: Etcd;
  readonly #ownsEtcd: boolean;
  readonly #logger: Logger;
  readonly #counters: GatewayCounters = newCounters();
  readonly #server: Server;
  readonly #view: GatewayView;
  readonly #room: WaitingRoom;
  readonly #relays: Relays;
  readonly #readers: Set<Feed<GatewayChange>> = new Set();
  readonly #drained = new AbortController();
  #address: AddressInfo = { address: "", port: 0, family: "" };
  /** Called when a connection has ended. */
  #onGone: () => void = () => {};
  #forgetEtcd: () => void = () => {};
  #closing: Promise<void> | undefined;
  #closed = false;

  private constructor(etcd: Etcd, settings: CheckedGateway, options: GatewayOptions) {
    const { clock } = etcd;
    const logger = guarded(options.logger ?? etcd.logger);
    const counters = this.#counters;
    this.election = settings.election;
    this.maxConnections = mostConnections();
    this.#settings = settings;
    this.#etcd = etcd;
    this.#ownsEtcd = options.etcd === undefined;
    this.#logger = logger;
    const shared = {
      ...{ ...settings, clock, logger, counters },
      mayPass: () => this.#mayPass(),
      now: () => this.#view.proof.now(),
      onGone: () => this.#onGone(),
    };
    this.#relays = new Relays(shared);
    this.#room = new WaitingRoom({
      ...shared,
      own: () => this.#address,
      onConnected: ({ client, early }, socket, leader) => {
        const header = settings.proxyProtocol ? [proxyHeader(client)] : [];
        this.#relays.add(client, socket, leader, [...header, ...early]);
      },
    });
    this.#view = new GatewayView(etcd, settings, logger, {
      routeChanged: (route) => this.#routeChanged(route),
      termEnding: (token) => this.#relays.freeze(token),
      termEnded: (token, planned) => {
        if (planned) this.#relays.drain(token);
        else counters.cutByTermEnd += this.#relays.cut(token);
      },
    });
    const streams = { allowHalfOpen: true, pauseOnConnect: true, highWaterMark: bufferBytes };
    const sockets = { noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs };
    this.#server = createServer({ ...streams, ...sockets }, (client) => {
      counters.accepted++;
      this.#room.enter(client);
    });
    this.#server.on("drop", () => counters.refusedFull++);
    this.#forgetEtcd = onAbort(etcd.closedSignal, () => void this.close({ drainMs: 0 }));
  }

  /**
   * Listens, and passes connections on as soon as a leader is known; until then they wait. Rejects with `BAD_OPTION` for
   * options that cannot be used, also where it cannot listen.
   */
  static async open(options: GatewayOptions): Promise<Gateway> {
    const settings = checkGateway(options);
    options.etcd?.closedSignal.throwIfAborted();
    const gateway = new Gateway(options.etcd ?? new Etcd(options), settings, options);
    try {
      await gateway.#listen();
      return gateway;
    } catch (error) {
      await gateway.close();
      throw error;
    }
  }

  /** Where it listens, as `host:port`. */
  get address(): string {
    const { address, port } = this.#address;
    return `${isIPv6(address) ? `[${address}]` : address}:${port}`;
  }

  get stats(): GatewayStats {
    return { waiting: this.#room.size, open: this.#relays.size, ...this.#counters };
  }

  /** What it has counted, and where connections go, as metrics. */
  metrics(): readonly Metric[] {
    return gatewayMetrics(this.election, this.stats, this.#view.route);
  }

  /** Where new connections go, the present state first; ends when the gateway is closed. */
  async *changes(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<GatewayChange, void> {
    const { signal } = options;
    signal?.throwIfAborted();
    const feed = new Feed<GatewayChange>();
    feed.push(changeOf(this.#view.route));
    if (this.#closed) feed.end();
    this.#readers.add(feed);
    const forget = onAbort(signal, () => feed.end(signal?.reason));
    try {
      for await (const { value, skipped } of feed) yield { ...value, skipped };
    } finally {
      forget();
      this.#readers.delete(feed);
    }
  }

  /**
   * Takes no more connections, gives those that there are `drainMs` to end by themselves (default: the gateway's), and
   * ends the rest. The port is free at once. A second call can only shorten the time.
   */
  async close(options: { readonly drainMs?: number } = {}): Promise<void> {
    const { drainMs = this.#settings.drainMs } = options;
    checkMs("drainMs", drainMs, 0);
    const { clock } = this.#etcd;
    const cancel = clock.at(clock.now() + drainMs, () => this.#drained.abort());
    this.#closing ??= this.#close();
    await this.#closing.finally(cancel);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #listen(): Promise<void> {
    const { host, port } = this.#settings;
    const { maxConnections } = this;
    if (maxConnections !== undefined) this.#server.maxConnections = maxConnections;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", (error) => reject(cannotListen(error, host, port)));
      this.#server.listen({ host, port, backlog }, resolve);
    });
    this.#server.on("error", (error) => this.#logger.error({ error }, "cannot take connections"));
    this.#address = this.#server.address() as AddressInfo;
    if (maxConnections !== undefined && maxConnections < wantedConnections) {
      const message = `the limit of open files allows ${maxConnections} connections at a time`;
      this.#logger.warn({ openFiles: openFilesLimit(), maxConnections }, message);
    }
    this.#view.start();
  }

  async #close(): Promise<void> {
    this.#server.close();
    await this.#untilIdle(this.#drained.signal, this.#etcd.closedSignal);
    this.#closed = true;
    this.#forgetEtcd();
    this.#room.close();
    this.#relays.finishAll();
    await this.#untilIdle();
    for (const feed of this.#readers) feed.end();
    await this.#view.close();
    if (this.#ownsEtcd) await this.#etcd.close();
  }

  /** Resolves when there is no connection any more, or when one of the signals aborts. */
  async #untilIdle(...signals: readonly AbortSignal[]): Promise<void> {
    const over = new LinkedSignal(...signals);
    await new Promise<void>((resolve) => {
      this.#onGone = () => {
        if (this.#room.size === 0 && this.#relays.size === 0) resolve();
      };
      onAbort(over.signal, resolve);
      this.#onGone();
    });
    over.release();
  }

  /** Asked before every piece: a process that was stopped for a minute has not been told anything yet. */
  #mayPass(): boolean {
    if (this.#view.proof.stands) return true;
    this.#view.look();
    return false;
  }

  #routeChanged(route: Route): void {
    const change = changeOf(route);
    const { at, why, token } = change;
    if (why === "no-address") {
      this.#counters.addressFailures++;
      const fields = { ...change, target: this.#settings.target };
      this.#logger.error(fields, "the leader tells no address that can be used; connections wait");
    } else if (why === "stale") this.#logger.warn(change, "the leader is not confirmed any more: cutting");
    else this.#logger.info(change, at === "open" ? "connections go to the leader" : "connections wait");
    if (why === "stale") this.#counters.cutByStaleness += this.#relays.cutAll();
    if (why === "handover" && token !== undefined) this.#relays.drain(token);
    this.#room.routeChanged(route);
    for (const feed of this.#readers) feed.push(change);
  }
}

function changeOf(route: Route): GatewayChange {
  const open = route.at === "open";
  return {
    ...{ at: route.at, why: open ? undefined : route.why },
    ...{ leader: route.leader?.id, token: route.leader?.token },
    ...{ address: open ? route.target.name : undefined, skipped: 0 },
  };
}

/** Two files for each: the client's connection and the leader's. */
function mostConnections(): number | undefined {
  const files = openFilesLimit();
  return files === undefined ? undefined : Math.max(1, Math.floor((files - ownFiles) / 2));
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): SuccessionError {
  if (error.code === "EADDRINUSE") return badOption("port", `one that nobody listens on at ${host}`, port);
  if (error.code === "EACCES") return badOption("port", "one that this user may listen on", port);
  if (error.code === "EADDRNOTAVAIL" || error.code === "ENOTFOUND")
    return badOption("host", "an address of this machine", host);
  return new SuccessionError("BAD_OPTION", `cannot listen on ${host}:${port}: ${error.message}`, {
    cause: error,
  });
}
