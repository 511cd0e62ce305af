import { type ChildProcess, spawn } from "node:child_process";
import type { Clock } from "../clock.ts";
import { sleep } from "../waiting.ts";
import { hookVariable, marked } from "./enclosure.ts";
import { describeExit, exitOf } from "./exit.ts";
import { Killing } from "./killing.ts";

/** A process that cannot be killed for so long hangs in the kernel; nobody waits for it. */
const reapMs = 1_000;

/** Command lines for a shell, and how long they may take. */
export interface HookLines {
  readonly onLead: string | undefined;
  readonly onLeadMs: number;
  readonly onStandby: string | undefined;
  readonly onStandbyMs: number;
}

export interface HookOptions {
  readonly clock: Clock;
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly timeoutMs: number;
}

/**
 * One run of a user's hook. It ends in bounded time, whatever it does: what its time limit finds, and what it leaves
 * behind, is killed with all of its processes. Its output goes to standard error.
 */
export class Hook {
  readonly #options: HookOptions;
  readonly #process: ChildProcess;
  readonly #killing: Killing;
  /** Resolves to what went wrong, when nothing is left of it; never rejects. */
  readonly ended: Promise<string | undefined>;
  #stop: (why: string) => void = () => {};

  constructor(options: HookOptions) {
    const { command, env } = options;
    const mark = crypto.randomUUID();
    const [file = "", ...args] = command;
    this.#options = options;
    this.#process = spawn(file, args, {
      env: marked(env, hookVariable, mark),
      stdio: ["ignore", 2, 2],
      detached: true,
    });
    const { pid } = this.#process;
    this.#killing = new Killing({ mark, ...(pid === undefined ? {} : { pid }) });
    this.ended = this.#toItsEnd();
  }

  /** Kills it if it still runs, saying why. Resolves when nothing is left of it. */
  async kill(why: string): Promise<void> {
    this.#stop(why);
    await this.ended;
  }

  async #toItsEnd(): Promise<string | undefined> {
    const { clock, timeoutMs } = this.#options;
    let cancel = (): void => {};
    const trouble = await new Promise<string | undefined>((resolve) => {
      this.#stop = resolve;
      cancel = clock.at(clock.now() + timeoutMs, () => {
        resolve(`did not end within ${Math.round(timeoutMs)} ms and was killed`);
      });
      this.#process.once("error", ({ message }) => resolve(message));
      this.#process.once("exit", (code, signal) => {
        const exit = exitOf(code, signal);
        resolve(exit.code === 0 ? undefined : describeExit(exit));
      });
    });
    cancel();
    await Promise.race([this.#killing.finish(clock), sleep(clock, reapMs)]);
    return trouble;
  }
}
