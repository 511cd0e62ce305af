import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { Child } from "../support/processes.ts";
import type { Service } from "./gateway-service.ts";

const examples = new URL("../../examples/", import.meta.url).pathname;

/** Whether a load balancer is on this machine. */
export function installed(command: "haproxy" | "nginx"): boolean {
  const { error, status } = spawnSync(command, ["-v"], { stdio: "ignore" });
  return error === undefined && status === 0;
}

/** A load balancer of the distribution, with the configuration that the examples show. */
export class Balancer implements AsyncDisposable {
  readonly address: string;
  readonly child: Child;
  readonly #folder: string;

  static async haproxy(services: readonly Service[]): Promise<Balancer> {
    const [port = 0] = await freePorts(1);
    const config = withAddresses("haproxy.cfg", services)
      .replace("bind :80", `bind 127.0.0.1:${port}`)
      // The health ports of the test's members differ.
      .replace(/port 8081 check/g, "check")
      .replace(/^( +server )([abc])( 127\.0\.0\.1:(\d+))$/gm, (_line, server, name, address, own) => {
        return `${server}${name}${address} port ${Number(own) + 1}`;
      });
    return await Balancer.#start(port, config, (file) => ["haproxy", "-db", "-f", file]);
  }

  static async nginx(services: readonly Service[]): Promise<Balancer> {
    const [port = 0] = await freePorts(1);
    const server = withAddresses("nginx.conf", services).replace("listen 80;", `listen 127.0.0.1:${port};`);
    const main = [
      ...["daemon off;", "pid nginx.pid;", "error_log stderr warn;", "worker_processes 1;"],
      ...["events { worker_connections 4096; }", "http {", "access_log off;", server, "}"],
    ];
    return await Balancer.#start(port, main.join("\n"), (file, folder) => {
      return ["nginx", "-p", folder, "-c", file, "-e", "stderr"];
    });
  }

  static async #start(
    port: number,
    config: string,
    command: (file: string, folder: string) => readonly [string, ...string[]] | string[],
  ): Promise<Balancer> {
    const folder = mkdtempSync(join(tmpdir(), "succession-balancer-"));
    const file = join(folder, "balancer.conf");
    writeFileSync(file, config);
    const [name, ...args] = command(file, folder);
    const child = Child.start({ command: name as string, args });
    const balancer = new Balancer(port, child, folder);
    try {
      await eventually(
        async () => {
          const answer = await fetch(`http://${balancer.address}/`);
          if (answer.status !== 200) throw new Error(`${answer.status}\n${child.stderr}`);
        },
        { timeoutMs: 20_000 },
      );
      return balancer;
    } catch (error) {
      await balancer[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(port: number, child: Child, folder: string) {
    this.address = `127.0.0.1:${port}`;
    this.child = child;
    this.#folder = folder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Asked, so that nginx takes its workers along.
    await this.child.kill("SIGTERM");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** An example's text with the services' addresses in place of 10.0.0.1:8080 and so on. */
function withAddresses(example: string, services: readonly Service[]): string {
  return services.reduce(
    (text, { port }, at) => text.replaceAll(`10.0.0.${at + 1}:8080`, `127.0.0.1:${port}`),
    readFileSync(join(examples, example), "utf8"),
  );
}
