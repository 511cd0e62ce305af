import { fileURLToPath } from "node:url";
import { cleanEnv } from "../cli/succession.ts";
import { Child } from "../support/processes.ts";

const program = fileURLToPath(new URL("./service-process.mjs", import.meta.url));
const root = fileURLToPath(new URL("../..", import.meta.url));
/** A process starts slowly on a busy machine. */
const startMs = 60_000;

/** A member with an HTTP service, in a process of its own. */
export class Service implements AsyncDisposable {
  readonly name: string;
  readonly child: Child;

  static async start(endpoint: string, election: string, name: string, ttlSeconds: number): Promise<Service> {
    const args = [program, endpoint, election, name, String(ttlSeconds)];
    const service = new Service(name, Child.start({ args, cwd: root, env: cleanEnv(), keepInputOpen: true }));
    await service.child.waitFor("stands", startMs);
    return service;
  }

  private constructor(name: string, child: Child) {
    this.name = name;
    this.child = child;
  }

  /** Resolves when it leads, counted from line `from` of its output. */
  async leads(from: number = 0): Promise<void> {
    await this.child.waitFor("leads", startMs, { from });
  }

  /** Has it leave and join again, at the end of the line. Resolves when it stands there. */
  async handOver(): Promise<void> {
    const from = this.child.lines.length;
    this.child.write("leave\n");
    await this.child.waitFor("stands", startMs, { from });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.kill();
  }
}
