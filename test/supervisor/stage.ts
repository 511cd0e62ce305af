import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import {
  type ContainmentName,
  chooseContainment,
  containmentNames,
} from "../../src/supervisor/containment.ts";
import { succession } from "../cli/succession.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import type { Child } from "../support/processes.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

/** What works on this machine; what does not is said once, for such tests do not run. */
export const containments: readonly ContainmentName[] = containmentNames.filter((name) => {
  try {
    chooseContainment(name);
    return true;
  } catch (error) {
    process.stderr.write(`*** NOT TESTED HERE: ${(error as Error).message}\n`);
    return false;
  }
});

const actor: string = fileURLToPath(new URL("actor.sh", import.meta.url));

/** Detached: ignores signals, and has a process in another session. Bomb: 50 processes, none of which lives for long. */
export type ActorMode = "plain" | "detached" | "bomb";

export interface Store {
  readonly endpoint: string;
  close(): Promise<void>;
}

/** Real etcd where there is one. */
export async function startStore(): Promise<Store> {
  const binary = realEtcds.at(-1);
  return binary === undefined ? await DevServer.start() : await EtcdServer.start({ binary });
}

/** A supervisor with a link to etcd of its own. */
export interface Seat {
  readonly name: string;
  readonly proxy: TcpProxy;
  child: Child;
}

export interface StageOptions {
  readonly store: Store;
  readonly election: string;
  readonly containment: ContainmentName;
  readonly mode: ActorMode;
  readonly ttlSeconds?: number;
  /** Whether no act of an earlier term may ever stand behind one of a later. @defaultValue true */
  readonly inOrder?: boolean;
}

/** Two supervisors of one election, whose programs write down what they do into one file. */
export class Stage {
  readonly #options: StageOptions;
  readonly #folder = mkdtempSync(join(tmpdir(), "succession-run-"));
  readonly #file = join(this.#folder, "acts");
  readonly #etcd: Etcd;
  readonly seats: [Seat, Seat];

  static async open(options: StageOptions): Promise<Stage> {
    const [a, b] = await Promise.all([
      TcpProxy.start({ target: options.store.endpoint }),
      TcpProxy.start({ target: options.store.endpoint }),
    ]);
    return new Stage(options, a, b);
  }

  private constructor(options: StageOptions, a: TcpProxy, b: TcpProxy) {
    this.#options = options;
    writeFileSync(this.#file, "");
    this.#etcd = new Etcd({ endpoints: [options.store.endpoint] });
    this.seats = [
      { name: "a", proxy: a, child: this.#start("a", a) },
      { name: "b", proxy: b, child: this.#start("b", b) },
    ];
  }

  /** The tokens of all acts so far, in order. */
  get acts(): readonly bigint[] {
    return this.#lines.map((line) => BigInt(line.split(" ")[0] ?? ""));
  }

  /** The supervisor whose program acts; resolves to it and the token when it does. */
  async acting(
    after: bigint = 0n,
  ): Promise<{ readonly leader: Seat; readonly standby: Seat; readonly token: bigint }> {
    const token = await eventually(
      () => {
        const last = this.acts.at(-1) ?? 0n;
        expect(last).toBeGreaterThan(after);
        return last;
      },
      { timeoutMs: 60_000 },
    );
    const { kvs } = await this.#etcd.range(`${this.#options.election}/`, { prefix: true });
    const id = kvs.find((kv) => kv.createRevision === token)?.value;
    const [a, b] = this.seats;
    return id !== undefined && Buffer.from(id).toString() === "b"
      ? { leader: b, standby: a, token }
      : { leader: a, standby: b, token };
  }

  /** Waits until programs of many processes have shown themselves. */
  async swarming(): Promise<void> {
    await eventually(() => expect(this.acts.length).toBeGreaterThan(100), { timeoutMs: 60_000 });
  }

  /** Waits until so many stand in line. */
  async standing(count: number): Promise<void> {
    const range = { prefix: true, countOnly: true };
    await eventually(
      async () => {
        const standing = Number((await this.#etcd.range(`${this.#options.election}/`, range)).count);
        expect(standing, this.#lastWords).toBe(count);
      },
      { timeoutMs: 60_000 },
    );
  }

  /** Deletes the key of this token, or revokes its lease, as an operator may. Resolves to whether it was there. */
  async remove(what: "key" | "lease", token: bigint): Promise<boolean> {
    const { kvs } = await this.#etcd.range(`${this.#options.election}/`, { prefix: true });
    const found = kvs.find((kv) => kv.createRevision === token);
    if (found === undefined) return false;
    if (what === "key") await this.#etcd.delete(found.key);
    else await this.#etcd.leaseRevoke(found.lease);
    return true;
  }

  /** How many seconds after the first act of a later term the last one of this term was; negative if before it. */
  overlapOf(token: bigint): number {
    const acts = this.#lines.map((line) => line.split(" "));
    const timesOf = (which: (each: bigint) => boolean): number[] =>
      acts.filter(([each = ""]) => which(BigInt(each))).map(([, seconds]) => Number(seconds));
    return Math.max(...timesOf((each) => each === token)) - Math.min(...timesOf((each) => each > token));
  }

  /** Starts a supervisor anew that was killed. */
  restart(seat: Seat): void {
    seat.child = this.#start(seat.name, seat.proxy);
  }

  /** The processes of this stage that run now: supervisors, shims, programs and all that they started. */
  processes(): readonly number[] {
    const ids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return ids.map(Number).filter((pid) => readOr(`/proc/${pid}/environ`).includes(this.#file));
  }

  /** Fails if an act of an earlier term stands behind one of a later term. */
  assertOrder(): void {
    const { acts } = this;
    const disorder = acts.findIndex((token, at) => at > 0 && token < (acts[at - 1] as bigint));
    const shown = disorder < 0 ? "" : acts.slice(Math.max(0, disorder - 3), disorder + 3).join(" ");
    expect(shown, "an older leader acted beside the new one").toBe("");
  }

  async close(): Promise<void> {
    for (const { child } of this.seats) child.cont();
    // However they end: the shims see to the rest.
    await Promise.all(this.seats.map(({ child }) => child.kill()));
    await eventually(() => expect(this.processes()).toEqual([]), { timeoutMs: 10_000 });
    if (this.#options.inOrder !== false) this.assertOrder();
    await Promise.all(this.seats.map(({ proxy }) => proxy.close()));
    await this.#etcd.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #lines(): readonly string[] {
    return readFileSync(this.#file, "utf8").split("\n").slice(0, -1);
  }

  /** What the supervisors said in the end, for a test that fails. */
  get #lastWords(): string {
    return this.seats.map(({ name, child }) => `${name}: ${child.stderr.slice(-2_000)}`).join("\n");
  }

  #start(name: string, proxy: TcpProxy): Child {
    const { election, containment, mode, ttlSeconds = 3 } = this.#options;
    return succession(
      [
        ...["run", election, "--id", name, "--ttl", String(ttlSeconds), "--endpoints", proxy.endpoint],
        ...["--containment", containment, "--restart-limit", "1000", "--", actor, mode],
      ],
      { env: { ACTS: this.#file } },
    );
  }
}

function readOr(file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return "";
  }
}
