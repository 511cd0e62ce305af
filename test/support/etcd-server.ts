import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canSkipFsync, type EtcdBinaries } from "./etcd-binaries.ts";
import { freePorts } from "./free-ports.ts";
import { Child } from "./processes.ts";

/** Files in PEM. `clientCertFile` and `clientKeyFile` are what `etcdctl` shows where the server asks. */
export interface EtcdTls {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
  readonly clientCertAuth?: boolean | undefined;
  readonly clientCertFile?: string | undefined;
  readonly clientKeyFile?: string | undefined;
}

export interface EtcdServerOptions {
  readonly binary: EtcdBinaries;
  readonly name?: string | undefined;
  /** The raft election timeout; heartbeats come at a tenth of it. @defaultValue etcd's own, 1000 */
  readonly electionTimeoutMs?: number | undefined;
  /** Keeps the disk out of the way; what is written is lost only if the machine stops. @defaultValue where supported */
  readonly unsafeNoFsync?: boolean | undefined;
  readonly extraArgs?: readonly string[] | undefined;
  readonly tls?: EtcdTls | undefined;
}

export interface EtcdClusterOptions extends EtcdServerOptions {
  /** @defaultValue 3 */
  readonly members?: number | undefined;
}

/** What a member keeps over its restarts. */
interface Seat {
  readonly name: string;
  readonly folder: string;
  readonly clientPort: number;
  readonly peerPort: number;
  /** Health and metrics in plain HTTP, also where clients need TLS. */
  readonly watchPort: number;
  readonly initialCluster: string;
}

const readyWithinMs = 20_000;
const etcdctlWithinMs = 15_000;

/** One real etcd server on loopback ports of its own, alone or a member of an `EtcdCluster`. */
export class EtcdServer {
  readonly #options: EtcdServerOptions;
  readonly #seat: Seat;
  #child: Child;
  #closed = false;

  /** Starts a cluster of one member, and resolves when it answers. */
  static async start(options: EtcdServerOptions): Promise<EtcdServer> {
    return (await startMembers({ ...options, members: 1 }))[0] as EtcdServer;
  }

  /** @internal Starts the process and does not wait: the members of a cluster wait for each other. */
  constructor(options: EtcdServerOptions, seat: Seat) {
    this.#options = options;
    this.#seat = seat;
    this.#child = Child.start({
      command: options.binary.etcd,
      args: serverArgs(options, seat),
      env: cleanEnv(),
    });
  }

  get name(): string {
    return this.#seat.name;
  }

  /** Where clients connect, as `host:port`. */
  get endpoint(): string {
    return `127.0.0.1:${this.#seat.clientPort}`;
  }

  /** The same as a URL, with `https` where TLS is on. */
  get url(): string {
    return `${this.#options.tls === undefined ? "http" : "https"}://${this.endpoint}`;
  }

  get pid(): number {
    return this.#child.pid;
  }

  get dataDir(): string {
    return join(this.#seat.folder, "data");
  }

  get binary(): EtcdBinaries {
    return this.#options.binary;
  }

  /** What the running process has logged. */
  get logs(): string {
    return [this.#child.stdout, this.#child.stderr].filter((text) => text !== "").join("\n");
  }

  /** Kills the process with SIGKILL and waits for its end. The data stay for `restart`. */
  async kill(): Promise<void> {
    await this.#child.kill();
  }

  /** Ends the process with SIGTERM, as an operator does, and waits for its end. */
  async terminate(): Promise<void> {
    await this.#child.kill("SIGTERM");
  }

  /** Stops the process as if the machine hung: its connections stay open and silent. */
  async stop(): Promise<void> {
    await this.#child.stop();
  }

  /** Lets a stopped process go on. */
  cont(): void {
    this.#child.cont();
  }

  /**
   * Starts the process again on the same data and ports, killing it first where it still
   * runs. Resolves when it answers; a member needs a majority for that, so restart a whole
   * cluster with `Promise.all`, or give `ready: false` to be back as soon as it is started.
   */
  async restart({ ready = true }: { readonly ready?: boolean } = {}): Promise<void> {
    if (this.#closed) throw new Error(`etcd ${this.name} is closed`);
    await this.kill();
    this.#child = Child.start({
      command: this.#options.binary.etcd,
      args: serverArgs(this.#options, this.#seat),
      env: cleanEnv(),
    });
    if (ready) await this.ready();
  }

  /** Resolves when this member serves clients and knows a raft leader. */
  async ready(): Promise<void> {
    // Every version logs this once its own member is published, which takes a raft leader.
    await this.#child.waitForError("serving client traffic", readyWithinMs);
    const end = performance.now() + readyWithinMs;
    while (!(await this.#healthy())) {
      if (performance.now() > end) throw new Error(`etcd ${this.name} is not healthy\n${this.logs}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Whether this member takes itself for the raft leader; false where it does not answer. */
  async isLeader(): Promise<boolean> {
    return /^etcd_server_is_leader 1$/m.test(await this.#get("/metrics"));
  }

  /** Runs etcdctl on this member and returns its standard output without the last line break. */
  async etcdctl(...args: string[]): Promise<string> {
    return await runEtcdctl(this.#options, [this.url], args);
  }

  /** Starts an etcdctl that goes on, such as `watch` or `elect`. */
  startEtcdctl(...args: string[]): Child {
    return Child.start({
      command: this.#options.binary.etcdctl,
      args: [...etcdctlFlags(this.#options, [this.url]), ...args],
      env: cleanEnv(),
      keepInputOpen: true,
    });
  }

  /** Kills the process and removes its data. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.kill();
    rmSync(this.#seat.folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #healthy(): Promise<boolean> {
    return (await this.#get("/health")).includes('"health":"true"');
  }

  /** The body, or the empty string where there is no answer within a second. */
  async #get(path: string): Promise<string> {
    try {
      const url = `http://127.0.0.1:${this.#seat.watchPort}${path}`;
      const answer = await fetch(url, {
        signal: AbortSignal.timeout(1_000),
        headers: { connection: "close" },
      });
      return await answer.text();
    } catch {
      return "";
    }
  }
}

/** Several real etcd servers that form one cluster. */
export class EtcdCluster {
  readonly #options: EtcdServerOptions;
  readonly members: readonly EtcdServer[];

  /** Resolves when every member answers. */
  static async start(options: EtcdClusterOptions): Promise<EtcdCluster> {
    return new EtcdCluster(options, await startMembers(options));
  }

  private constructor(options: EtcdServerOptions, members: readonly EtcdServer[]) {
    this.#options = options;
    this.members = members;
  }

  /** Where clients connect, as `host:port`, in the order of `members`. */
  get endpoints(): readonly string[] {
    return this.members.map((member) => member.endpoint);
  }

  get urls(): readonly string[] {
    return this.members.map((member) => member.url);
  }

  /** The raft leader: waits until exactly one member says that it is. */
  async leader({ timeoutMs = 10_000 }: { readonly timeoutMs?: number } = {}): Promise<EtcdServer> {
    const end = performance.now() + timeoutMs;
    while (true) {
      const answers = await Promise.all(this.members.map((member) => member.isLeader()));
      const leaders = this.members.filter((_member, index) => answers[index]);
      if (leaders[0] !== undefined && leaders.length === 1) return leaders[0];
      if (performance.now() > end) throw new Error(`no raft leader within ${timeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** The members that are not `member`. */
  others(member: EtcdServer): readonly EtcdServer[] {
    return this.members.filter((other) => other !== member);
  }

  /** Runs etcdctl on all endpoints and returns its standard output without the last line break. */
  async etcdctl(...args: string[]): Promise<string> {
    return await runEtcdctl(this.#options, this.urls, args);
  }

  async close(): Promise<void> {
    await Promise.all(this.members.map((member) => member.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Between choosing free ports and listening on them somebody else may take one: then all anew. */
async function startMembers(options: EtcdClusterOptions, tries = 5): Promise<readonly EtcdServer[]> {
  const seats = await makeSeats(options.name ?? "etcd", options.members ?? 3);
  const members = seats.map((seat) => new EtcdServer(options, seat));
  try {
    await Promise.all(members.map((member) => member.ready()));
    return members;
  } catch (error) {
    const taken = members.some((member) => member.logs.includes("address already in use"));
    await Promise.all(members.map((member) => member.close()));
    if (taken && tries > 1) return await startMembers(options, tries - 1);
    throw error;
  }
}

async function makeSeats(name: string, count: number): Promise<readonly Seat[]> {
  const ports = await freePorts(count * 3);
  const seats = Array.from({ length: count }, (_, index) => ({
    name: count === 1 ? name : `${name}-${index + 1}`,
    folder: mkdtempSync(join(tmpdir(), "succession-etcd-")),
    clientPort: ports[index * 3] as number,
    peerPort: ports[index * 3 + 1] as number,
    watchPort: ports[index * 3 + 2] as number,
  }));
  const initialCluster = seats.map((seat) => `${seat.name}=http://127.0.0.1:${seat.peerPort}`).join(",");
  return seats.map((seat) => ({ ...seat, initialCluster }));
}

function serverArgs(options: EtcdServerOptions, seat: Seat): string[] {
  const {
    binary,
    electionTimeoutMs,
    tls,
    extraArgs = [],
    unsafeNoFsync = canSkipFsync(binary.etcd),
  } = options;
  const client = `${tls === undefined ? "http" : "https"}://127.0.0.1:${seat.clientPort}`;
  const peer = `http://127.0.0.1:${seat.peerPort}`;
  const args = [
    `--name=${seat.name}`,
    `--data-dir=${join(seat.folder, "data")}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=${seat.initialCluster}`,
    `--initial-cluster-token=${seat.initialCluster}`,
    `--listen-metrics-urls=http://127.0.0.1:${seat.watchPort}`,
    "--logger=zap",
    "--log-outputs=stderr",
  ];
  if (electionTimeoutMs !== undefined) {
    args.push(`--election-timeout=${electionTimeoutMs}`);
    args.push(`--heartbeat-interval=${Math.max(Math.round(electionTimeoutMs / 10), 1)}`);
  }
  if (unsafeNoFsync) args.push("--unsafe-no-fsync");
  if (tls !== undefined) {
    args.push(`--cert-file=${tls.certFile}`, `--key-file=${tls.keyFile}`);
    if (tls.clientCertAuth === true) args.push("--client-cert-auth", `--trusted-ca-file=${tls.caFile}`);
  }
  return [...args, ...extraArgs];
}

function etcdctlFlags({ tls }: EtcdServerOptions, urls: readonly string[]): string[] {
  const flags = [`--endpoints=${urls.join(",")}`];
  if (tls === undefined) return flags;
  flags.push(`--cacert=${tls.caFile}`);
  if (tls.clientCertFile !== undefined) flags.push(`--cert=${tls.clientCertFile}`);
  if (tls.clientKeyFile !== undefined) flags.push(`--key=${tls.clientKeyFile}`);
  return flags;
}

function runEtcdctl(
  options: EtcdServerOptions,
  urls: readonly string[],
  args: readonly string[],
): Promise<string> {
  const { etcdctl } = options.binary;
  const all = [...etcdctlFlags(options, urls), ...args];
  return new Promise((resolve, reject) => {
    execFile(
      etcdctl,
      all,
      { env: cleanEnv(), timeout: etcdctlWithinMs, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout.replace(/\n$/, ""));
        else
          reject(new Error(`etcdctl ${args.join(" ")}: ${stderr.trim() || error.message}`, { cause: error }));
      },
    );
  });
}

/** Servers and etcdctl read settings from the environment, which would get in the way of the flags. */
function cleanEnv(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !/^ETCD(CTL)?_/.test(name));
  return { ...Object.fromEntries(entries), ETCDCTL_API: "3" };
}
