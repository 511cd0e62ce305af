import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { cleanEnv } from "../cli/succession.ts";
import { freePorts } from "../support/free-ports.ts";
import { Child } from "../support/processes.ts";

const program = fileURLToPath(new URL("./service-process.mjs", import.meta.url));
const root = fileURLToPath(new URL("../..", import.meta.url));
/** A process starts slowly on a busy machine. */
const startMs = 60_000;

interface ServiceOptions {
  readonly endpoint: string;
  readonly election: string;
  readonly name: string;
  readonly ttlSeconds: number;
  /** What it does with a request while it does not lead. @defaultValue "forward" */
  readonly mode?: "forward" | "respond";
  /** Where it serves; its health endpoints are on the port after that. */
  readonly port: number;
}

/** A member with an HTTP service, in a process of its own. */
export class Service {
  readonly name: string;
  readonly port: number;
  readonly child: Child;

  static async start(options: ServiceOptions): Promise<Service> {
    const { endpoint, election, name, ttlSeconds, mode = "forward", port } = options;
    const args = [program, endpoint, election, name, String(ttlSeconds), mode, String(port)];
    const child = Child.start({ args, cwd: root, env: cleanEnv(), keepInputOpen: true });
    await child.waitFor("stands", startMs);
    return new Service(name, port, child);
  }

  private constructor(name: string, port: number, child: Child) {
    this.name = name;
    this.port = port;
    this.child = child;
  }

  /** Has it leave and join again, at the end of the line. Resolves when it stands there. */
  async handOver(): Promise<void> {
    const from = this.child.lines.length;
    this.child.write("leave\n");
    await this.child.waitFor("stands", startMs, { from });
  }
}

/** The services of an election, by name. */
export class Services implements AsyncDisposable {
  readonly #options: Omit<ServiceOptions, "name" | "port">;
  readonly #byName: Map<string, Service> = new Map();

  /** Starts a, b and c, which stand in line in this order. */
  static async start(options: Omit<ServiceOptions, "name" | "port">): Promise<Services> {
    const services = new Services(options);
    const ports = await portPairs(3);
    for (const [at, name] of ["a", "b", "c"].entries())
      services.#byName.set(name, await Service.start({ ...options, name, port: ports[at] as number }));
    return services;
  }

  private constructor(options: Omit<ServiceOptions, "name" | "port">) {
    this.#options = options;
  }

  get all(): readonly Service[] {
    return [...this.#byName.values()];
  }

  of(name: string): Service {
    const service = this.#byName.get(name);
    if (service === undefined) throw new Error(`there is no service ${name}`);
    return service;
  }

  /** Starts one again that was killed, on its old port. */
  async restart(name: string): Promise<void> {
    const { port } = this.of(name);
    this.#byName.set(name, await Service.start({ ...this.#options, name, port }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.map(({ child }) => child.kill()));
  }
}

/** Ports that are free, each with the one after it. */
async function portPairs(count: number): Promise<number[]> {
  const found: number[] = [];
  while (found.length < count) {
    const [port = 0] = await freePorts(1);
    if (await isFree(port + 1)) found.push(port);
  }
  return found;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1" }, () => server.close(() => resolve(true)));
  });
}
