import { readFileSync } from "node:fs";

/** Why a command that is told to stop ends without a word. */
export class Stopped extends Error {
  override readonly name: string = "Stopped";
}

const stopSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A command that was told to stop is ended after this, whatever it still waits for, unless it says otherwise. */
const defaultPatienceMs = 1_800;

/** `npm run` passes on a Ctrl-C that the terminal has sent us already: so soon, it is the same one. */
const samePressMs = 250;

const parentCheckMs = 250;

/**
 * Tells a command to stop, once: on SIGINT, SIGTERM or SIGHUP, when nobody reads its output any more, and when the npm
 * that started it was killed. A second signal ends the process at once.
 */
export class Stop {
  readonly #controller = new AbortController();
  readonly #press = (): void => this.#pressed();
  #requestedAt = 0;
  /** How long the command may take to end, in milliseconds. */
  patienceMs: number = defaultPatienceMs;
  #handedOver = false;
  /** The exit code of a command that was told to stop. */
  code = 0;
  /** What must happen before the process is ended at once. */
  onForced: () => void = () => {};

  /** Installs the signal handlers. */
  static install(env: NodeJS.ProcessEnv): Stop {
    const stop = new Stop();
    for (const name of stopSignals) process.on(name, stop.#press);
    const { npm_lifecycle_event: startedByNpm } = env;
    if (startedByNpm !== undefined) stop.#watchParents();
    return stop;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get requested(): boolean {
    return this.signal.aborted;
  }

  request(): void {
    if (this.requested) return;
    this.#requestedAt = performance.now();
    if (!this.#handedOver) setTimeout(() => this.#force(this.code), this.patienceMs).unref();
    this.#controller.abort(new Stopped());
  }

  /** The command sees to signals by itself from now on, and takes the time that it needs. */
  handOver(): void {
    this.#handedOver = true;
    for (const name of stopSignals) process.off(name, this.#press);
  }

  #pressed(): void {
    if (!this.requested) this.request();
    else if (performance.now() - this.#requestedAt > samePressMs) this.#force(1);
  }

  #force(code: number): void {
    this.onForced();
    process.exit(code);
  }

  /** npm cannot say goodbye when it is killed with SIGKILL, and we must not go on without it. */
  #watchParents(): void {
    const above = parentsOf(process.ppid);
    // Killed before we could look: whoever adopts orphans is our parent now.
    if (above.at(-1)?.pid === 1 && !/npm|node|yarn|bun|MainThread/.test(above.at(-1)?.name ?? "npm"))
      this.request();
    const timer = setInterval(() => {
      if (process.ppid === above[0]?.pid && above.every(({ pid }) => alive(pid))) return;
      clearInterval(timer);
      this.request();
    }, parentCheckMs);
    timer.unref();
  }
}

interface Process {
  readonly pid: number;
  /** Known on Linux alone. */
  readonly name: string | undefined;
}

/** The parent; and above a shell, which survives npm and does not tell, also the shell's parent. */
function parentsOf(parent: number): readonly Process[] {
  const { name, above } = lookUp(parent);
  const nearest = { pid: parent, name };
  if (above === undefined || !/^(ba|da|a|z)?sh$/.test(name ?? "")) return [nearest];
  return [nearest, { pid: above, name: lookUp(above).name }];
}

function lookUp(pid: number): { readonly name?: string; readonly above?: number } {
  try {
    const [, name, above] = /\((.*)\) \S (\d+) /s.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    return name === undefined ? {} : { name, above: Number(above) };
  } catch {
    return {};
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process is alive.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
