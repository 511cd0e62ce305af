import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EtcdBinaries } from "../support/etcd-binaries.ts";
import { Child } from "../support/processes.ts";

/** Of this process, so that two runs do not meet. */
const prefix = `succ${process.pid}`;
const port = 2379;

/** Runs `ip`; throws with what it said. */
const ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8", stdio: "pipe" });

/** Why this machine makes no network namespaces; undefined where it does. */
export function whyNoNamespaces(): string | undefined {
  try {
    const probe = `${prefix}-probe`;
    ip("netns", "add", probe);
    ip("netns", "del", probe);
    return undefined;
  } catch (error) {
    return (error as Error).message.trim().split("\n").at(-1);
  }
}

/**
 * A real etcd in a network namespace of its own, and one more namespace for each member, joined to it by a link. The
 * kernel then loses packets as it does where a network fails: no proxy accepts or answers anything.
 */
export class Namespaces {
  readonly #ids: readonly string[];
  readonly #hub = `${prefix}-etcd`;
  readonly #data: string = mkdtempSync(join(tmpdir(), "succession-namespaces-"));
  readonly #atExit = (): void => this.#remove();
  #etcd: Child | undefined;

  /** Resolves when etcd answers. */
  static async open(binary: EtcdBinaries, ids: readonly string[]): Promise<Namespaces> {
    const namespaces = new Namespaces(ids);
    process.once("exit", namespaces.#atExit);
    try {
      namespaces.#make();
      await namespaces.#startEtcd(binary);
      return namespaces;
    } catch (error) {
      await namespaces.close();
      throw error;
    }
  }

  private constructor(ids: readonly string[]) {
    this.#ids = ids;
  }

  /** Where etcd is for this process. */
  get endpoint(): string {
    return `${address(0, "etcd")}:${port}`;
  }

  /** Where a member runs, and where etcd is for it. */
  placeOf(id: string): { readonly namespace: string; readonly endpoints: readonly string[] } {
    return { namespace: this.#of(id), endpoints: [`${address(this.#net(id), "etcd")}:${port}`] };
  }

  /** Takes the link of a member down at etcd's end, or up again. */
  link(id: string, state: "up" | "down"): void {
    ip("-n", this.#hub, "link", "set", `to-${id}`, state);
  }

  /** Loses what a member sends, or what etcd sends to it, by a route that leads nowhere; `del` takes it back. */
  blackHole(id: string, packets: "to etcd" | "from etcd", action: "add" | "del"): void {
    const [namespace, end] =
      packets === "to etcd" ? ([this.#of(id), "etcd"] as const) : ([this.#hub, "member"] as const);
    ip("-n", namespace, "route", action, "blackhole", `${address(this.#net(id), end)}/32`);
  }

  async close(): Promise<void> {
    await this.#etcd?.kill();
    this.#remove();
    process.removeListener("exit", this.#atExit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #of(id: string): string {
    return `${prefix}-${id}`;
  }

  #net(id: string): number {
    return this.#ids.indexOf(id) + 1;
  }

  #make(): void {
    ip("netns", "add", this.#hub);
    ip("-n", this.#hub, "link", "set", "lo", "up");
    // The test process looks at the line over a link of its own.
    ip("link", "add", prefix, "type", "veth", "peer", "name", "to-test", "netns", this.#hub);
    ip("address", "add", `${address(0, "member")}/30`, "dev", prefix);
    ip("link", "set", prefix, "up");
    this.#serve("to-test", 0);
    for (const id of this.#ids) {
      const own = this.#of(id);
      ip("netns", "add", own);
      ip("-n", own, "link", "set", "lo", "up");
      ip("-n", own, "link", "add", "eth0", "type", "veth", "peer", "name", `to-${id}`, "netns", this.#hub);
      ip("-n", own, "address", "add", `${address(this.#net(id), "member")}/30`, "dev", "eth0");
      ip("-n", own, "link", "set", "eth0", "up");
      this.#serve(`to-${id}`, this.#net(id));
    }
  }

  #serve(device: string, net: number): void {
    ip("-n", this.#hub, "address", "add", `${address(net, "etcd")}/30`, "dev", device);
    ip("-n", this.#hub, "link", "set", device, "up");
  }

  async #startEtcd({ etcd }: EtcdBinaries): Promise<void> {
    const urls = [
      `--listen-client-urls=http://0.0.0.0:${port}`,
      `--advertise-client-urls=http://127.0.0.1:${port}`,
    ];
    const args = ["netns", "exec", this.#hub, etcd, `--data-dir=${this.#data}`, "--logger=zap", ...urls];
    this.#etcd = Child.start({ command: "ip", args: [...args, "--log-outputs=stderr"] });
    await this.#etcd.waitForError("serving client traffic", 20_000);
  }

  /** Removes what is there; a link goes with either of its ends. */
  #remove(): void {
    for (const namespace of [this.#hub, ...this.#ids.map((id) => this.#of(id))]) {
      try {
        ip("netns", "del", namespace);
      } catch {
        // It was not made.
      }
    }
    rmSync(this.#data, { recursive: true, force: true });
  }
}

/** A link has four addresses, of which two are its ends. Each process has a block of 64 of its own. */
function address(net: number, end: "etcd" | "member"): string {
  const block = process.pid % 1_024;
  return `10.213.${block >> 2}.${((block & 3) << 6) + net * 4 + (end === "etcd" ? 1 : 2)}`;
}
