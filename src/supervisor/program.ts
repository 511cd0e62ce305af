import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import type { Clock } from "../clock.ts";
import { sleep } from "../waiting.ts";
import type { Containment } from "./containment.ts";
import { type Enclosure, marked, markVariable } from "./enclosure.ts";
import { type Exit, exitOf } from "./exit.ts";
import { Killing } from "./killing.ts";
import { sendSignal } from "./send-signal.ts";
import type { Warden } from "./warden.ts";

export interface ProgramOptions {
  readonly clock: Clock;
  readonly containment: Containment;
  readonly warden: Warden;
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** The file descriptor that the program writes signs of life to. */
  readonly heartbeatFd: number | undefined;
  /** When the shim kills it by itself; `null` for only when the supervisor is gone. */
  readonly until: number | null;
}

/**
 * One run of the program, with all the processes that come of it. It uses the supervisor's standard input and output as
 * they are.
 */
export class Program {
  readonly #options: ProgramOptions;
  readonly #enclosure: Enclosure;
  readonly #process: ChildProcess;
  readonly #exit: Promise<Exit>;
  /** Resolves when nothing of it is left; never rejects. */
  readonly gone: Promise<Exit>;
  #resolveGone: (exit: Exit) => void = () => {};
  #killed: Promise<Exit> | undefined;
  #ended: Exit | undefined;

  /** Starts it; one that cannot be started ends with 126. */
  constructor(options: ProgramOptions) {
    const { containment, warden, command, heartbeatFd, until } = options;
    const runId = crypto.randomUUID();
    const enclosure = containment.enclose(runId, runId);
    // Told before there is anything to kill: there is no moment in which nobody would.
    warden.hold(enclosure, until);
    const [file = "", ...args] = containment.wrap(command, enclosure);
    this.#options = options;
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve;
    });
    this.#process = spawn(file, args, {
      // A group and a session of its own: what a terminal sends reaches the supervisor alone, which decides.
      detached: true,
      env: marked(options.env, markVariable, runId),
      stdio: ["inherit", "inherit", "inherit", ...extraPipes(heartbeatFd)],
    });
    const { pid } = this.#process;
    this.#enclosure = pid === undefined ? enclosure : { ...enclosure, pid };
    warden.hold(this.#enclosure, until);
    this.#exit = new Promise((resolve) => {
      const ended = (exit: Exit): void => {
        this.#ended = exit;
        resolve(exit);
      };
      this.#process.once("exit", (code, signal) => ended(exitOf(code, signal)));
      this.#process.once("error", () => {
        if (pid === undefined) ended({ code: 126, signal: undefined });
      });
    });
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  /** Whether its first process has ended. */
  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** How its first process has ended, once it has. */
  get exit(): Exit | undefined {
    return this.#ended;
  }

  /** Resolves when its first process has ended; never rejects. */
  get exited(): Promise<Exit> {
    return this.#exit;
  }

  /** What it writes to the heartbeat's descriptor. */
  get heartbeats(): Socket | undefined {
    const { heartbeatFd } = this.#options;
    return heartbeatFd === undefined ? undefined : (this.#process.stdio[heartbeatFd] as Socket | undefined);
  }

  /** What to run in place of a command, and with what environment, so that it is found and killed with the program. */
  alongside(
    command: readonly string[],
    env: NodeJS.ProcessEnv,
  ): { readonly command: readonly string[]; readonly env: NodeJS.ProcessEnv } {
    return {
      command: this.#options.containment.join(command, this.#enclosure),
      env: marked(env, markVariable, this.#enclosure.mark),
    };
  }

  /** Passes a signal on to the program itself. */
  signal(name: NodeJS.Signals): void {
    const pid = this.#mainId();
    if (pid !== undefined) sendSignal(pid, name);
  }

  /** SIGTERM to its group, and SIGKILL to all that is left at `killAt`. Resolves when nothing is left. */
  async stop(killAt: number): Promise<Exit> {
    const { clock } = this.#options;
    const pid = this.#mainId();
    // Without a group it has hardly begun.
    if (clock.now() < killAt && pid !== undefined) {
      sendSignal(-pid, "SIGTERM");
      await this.#exitUntil(killAt);
      // Others of its group may have more to do than the first process.
      const killing = new Killing(this.#enclosure);
      while (clock.now() < killAt && this.#killed === undefined && !killing.isDone) await sleep(clock, 20);
    }
    return await this.kill();
  }

  /** SIGKILL to all of it. Resolves when nothing is left, with how the program itself ended. */
  kill(): Promise<Exit> {
    this.#killed ??= this.#kill();
    return this.#killed;
  }

  async #kill(): Promise<Exit> {
    const { clock, warden } = this.#options;
    await new Killing(this.#enclosure).finish(clock);
    const exit = await this.#exit;
    this.heartbeats?.destroy();
    warden.release();
    this.#resolveGone(exit);
    return exit;
  }

  /** Waits for the end of the first process, but not for longer than to an instant. */
  async #exitUntil(instant: number): Promise<void> {
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const cancel = clock.at(instant, resolve);
      const done = (): void => {
        cancel();
        resolve();
      };
      void this.#exit.then(done);
    });
  }

  #mainId(): number | undefined {
    const { pid } = this.#process;
    return pid === undefined || this.ended ? undefined : this.#options.containment.mainId(pid);
  }
}

/** What to open from descriptor 3 to this one. */
function extraPipes(heartbeatFd: number | undefined): ("ignore" | "pipe")[] {
  if (heartbeatFd === undefined) return [];
  return [...Array<"ignore">(heartbeatFd - 3).fill("ignore"), "pipe"];
}
