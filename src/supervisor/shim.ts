import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { SystemClock } from "../clock.ts";
import { sendSignal } from "./send-signal.ts";
import { type ShimOrder, shimReady } from "./shim-protocol.ts";

/** A process that has not said that it is ready after this will not. */
const readyWithinMs = 20_000;

type Helper = ChildProcessByStdio<Writable, Readable, null>;

/** The supervisor's side of the process that kills the program when the supervisor cannot. */
export class Shim {
  readonly #process: Helper;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;

  private constructor(child: Helper) {
    this.#process = child;
    this.ended = new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    // It may die at any time, and then `ended` says so.
    child.stdin.on("error", () => {});
  }

  /**
   * Starts it, and resolves when it can be relied on. Rejects if it cannot be started. The first order waits for it in the
   * pipe, so that it is obeyed even if nobody is left by then who could give it.
   */
  static async start(clock: SystemClock, first?: ShimOrder): Promise<Shim> {
    const file = fileURLToPath(new URL("./shim-process.js", import.meta.url));
    const child = spawn(process.execPath, [file, JSON.stringify(clock.origin)], {
      // Away from the terminal and the supervisor's group.
      detached: true,
      stdio: ["pipe", "pipe", "inherit"],
      // What is set for the program may not suit this one.
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    const shim = new Shim(child);
    if (first !== undefined) shim.tell(first);
    const said = once(child.stdout, "data", { signal: AbortSignal.timeout(readyWithinMs) });
    const heard = await Promise.race([said, shim.ended]).catch(() => undefined);
    if (String(heard?.[0]).startsWith(shimReady)) return shim;
    child.kill("SIGKILL");
    throw new Error("the process that kills the program in an emergency did not start");
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  tell(order: ShimOrder): void {
    if (this.#process.stdin.writable) this.#process.stdin.write(`${JSON.stringify(order)}\n`);
  }

  /** Ends it, together with what it holds. */
  async close(): Promise<void> {
    this.#process.stdin.end();
    // A stopped process reads nothing.
    if (this.#process.pid !== undefined) sendSignal(this.#process.pid, "SIGCONT");
    await this.ended;
  }
}
