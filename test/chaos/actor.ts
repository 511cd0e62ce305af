import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { Cause } from "../../src/errors.ts";
import type { MemberSettings } from "../../src/member/options.ts";
import type { PhaseName } from "../../src/member/phase.ts";
import type { Acting } from "../../src/testing/ledger.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

/** Milliseconds of the host's monotonic clock, the same in every process. */
export const now = (): number => Number(process.hrtime.bigint() / 1_000n) / 1_000;

const program = fileURLToPath(new URL("acting-member.mjs", import.meta.url));
const joinsWithinMs = 30_000;

/** What a member says of itself when something changes. */
export interface State {
  readonly at: number;
  readonly role: "leader" | "standby";
  readonly phase: PhaseName;
  readonly leader?: string;
  readonly token?: string;
  readonly cause?: Cause;
}

/** What the member's process is given; it is the package as built, so only plain data. */
export type ActorSettings = Omit<MemberSettings, "prepare" | "lead" | "logger" | "signal"> & {
  readonly user?: string;
  readonly password?: string;
};

export interface ActorOptions {
  readonly settings: ActorSettings;
  /** The endpoints of etcd. */
  readonly endpoints: readonly string[];
  /** A proxy for each endpoint, so that this process alone can be cut off. @defaultValue true */
  readonly proxied?: boolean;
  /** A network namespace to run in. */
  readonly namespace?: string;
}

/** A member in a process of its own, and its ways to etcd. */
export class Actor {
  readonly id: string;
  /** One for each endpoint, in their order; none where the process connects directly. */
  readonly proxies: readonly TcpProxy[];
  readonly #options: ActorOptions;
  readonly #folder: string;
  #child: Child;
  /** What its processes before this one said. */
  #earlier: readonly (readonly State[])[] = [];
  #alive = true;

  /** Starts the process, which joins when told to. */
  static async start(options: ActorOptions): Promise<Actor> {
    const { endpoints, proxied = true } = options;
    const targets = proxied ? endpoints : [];
    return new Actor(options, await Promise.all(targets.map((target) => TcpProxy.start({ target }))));
  }

  private constructor(options: ActorOptions, proxies: readonly TcpProxy[]) {
    this.id = options.settings.id;
    this.proxies = proxies;
    this.#options = options;
    this.#folder = mkdtempSync(join(tmpdir(), "succession-chaos-"));
    this.#child = this.#spawn();
  }

  /** Resolves when the member's key exists, and where it has a renewal thread, when that renews its lease. */
  async join(): Promise<void> {
    this.#child.write("join\n");
    await this.#child.waitFor("{", joinsWithinMs);
    if (this.#options.settings.worker !== false)
      await this.#child.waitForError("the renewal thread renews", joinsWithinMs);
  }

  /** Whether the process runs, or stands still and could go on. */
  get alive(): boolean {
    return this.#alive;
  }

  /** Everything that it said of itself, over its restarts. */
  get states(): readonly State[] {
    return this.#lives.flat();
  }

  get state(): State | undefined {
    const last = this.#child.lines.at(-1);
    return last === undefined ? undefined : JSON.parse(last);
  }

  /** What the member warned of, for whoever looks into a failure. */
  get warnings(): string {
    return this.#child.stderr;
  }

  /** Its spells of leadership, by token: from the first act to the last one recorded. */
  get spells(): readonly Acting[] {
    const spells: { who: string; start: number; end: number; token: bigint }[] = [];
    for (const line of this.#acts()) {
      const [token, at] = line.split(" ");
      const last = spells.at(-1);
      if (last?.token === BigInt(token ?? "")) last.end = Number(at);
      else spells.push({ who: this.id, start: Number(at), end: Number(at), token: BigInt(token ?? "") });
    }
    return spells;
  }

  /** Why each of its terms ended, as far as it has said so. */
  get endings(): ReadonlyMap<bigint, Cause> {
    const endings = new Map<bigint, Cause>();
    for (const states of this.#lives) {
      let led: string | undefined;
      for (const { token, cause } of states) {
        if (led !== undefined && token === undefined && cause !== undefined) endings.set(BigInt(led), cause);
        led = token ?? (cause === undefined ? led : undefined);
      }
    }
    return endings;
  }

  /** Ends the process without a word. */
  async kill(): Promise<void> {
    this.#alive = false;
    await this.#child.kill();
  }

  /** Starts the process again after `kill`; resolves when it has joined. */
  async restart(): Promise<void> {
    this.#earlier = this.#lives;
    this.#child = this.#spawn();
    this.#alive = true;
    await this.join();
  }

  async stop(): Promise<void> {
    await this.#child.stop();
  }

  cont(): void {
    this.#child.cont();
  }

  /** Holds its event loop for so long; it goes on asking its term before it acts. */
  block(ms: number): void {
    this.#child.write(`block ${ms}\n`);
  }

  /** Holds its event loop for so long and acts without asking. */
  hang(ms: number): void {
    this.#child.write(`hang ${ms}\n`);
  }

  /** Resolves when the process has been ended by somebody else. */
  async ended(timeoutMs: number): Promise<void> {
    await eventually(() => expect(this.#child.ended).toBeDefined(), { timeoutMs });
    this.#alive = false;
  }

  async close(): Promise<void> {
    await this.kill();
    await Promise.all(this.proxies.map((proxy) => proxy.close()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #ledger(): string {
    return join(this.#folder, "ledger");
  }

  get #lives(): readonly (readonly State[])[] {
    return [...this.#earlier, this.#child.lines.map((line): State => JSON.parse(line))];
  }

  #acts(): readonly string[] {
    // A process that was killed may have left half a line.
    return readFileSync(this.#ledger, "utf8").split("\n").slice(0, -1);
  }

  #spawn(): Child {
    const { settings, namespace } = this.#options;
    const endpoints =
      this.proxies.length > 0 ? this.proxies.map(({ endpoint }) => endpoint) : this.#options.endpoints;
    const env = {
      ...process.env,
      LEDGER: this.#ledger,
      OPTIONS: JSON.stringify({ ...settings, endpoints }),
    };
    const keepInputOpen = true;
    if (namespace === undefined) return Child.start({ args: [program], env, keepInputOpen });
    const args = ["netns", "exec", namespace, process.execPath, program];
    return Child.start({ command: "ip", args, env, keepInputOpen });
  }
}
