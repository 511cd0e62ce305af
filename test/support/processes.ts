import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { spawnTied, type TiedProcessOptions } from "./tied-process.ts";

export interface ChildOptions extends TiedProcessOptions {
  /** What to run; this Node.js by default. */
  readonly command?: string | undefined;
  readonly args: readonly string[];
  /** Written to the child's standard input, which is then closed. It is closed at once by default. */
  readonly input?: string | undefined;
  /** Leaves standard input open, for `write` and `end`. */
  readonly keepInputOpen?: boolean | undefined;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface WaitOptions {
  /** Only lines from this index on count; take `lines.length` before what should cause the line. */
  readonly from?: number;
}

/** Says yes to the line waited for: by function, by pattern, or by a piece of the line. */
export type LineMatch = string | RegExp | ((line: string) => boolean);

/** After the process is gone its pipes may stay open in a grandchild; they are read no longer than this. */
const lastOutputMs = 500;

/** A child process of a test: its output by lines, its end as a promise, never left behind. */
export class Child {
  readonly #process: ChildProcess;
  readonly #title: string;
  readonly #waiting: Set<() => void> = new Set();
  readonly #lines: string[] = [];
  readonly #errorLines: string[] = [];
  #ended: Exit | undefined;

  /** Settles when the process has ended and its output is complete; a command that cannot start ends with 127. */
  readonly exit: Promise<Exit>;

  static start(options: ChildOptions): Child {
    return new Child(options);
  }

  private constructor({
    command = process.execPath,
    args,
    cwd,
    env,
    input,
    keepInputOpen = false,
  }: ChildOptions) {
    this.#title = [command, ...args].join(" ");
    this.#process = spawnTied(command, args, { cwd, env });
    // A child that ends without reading its input is no fault of the test.
    this.#process.stdin?.on("error", () => {});
    if (input !== undefined) this.#process.stdin?.write(input);
    if (!keepInputOpen) this.#process.stdin?.end();
    this.#collect(this.#process.stdout, this.#lines);
    this.#collect(this.#process.stderr, this.#errorLines);
    this.exit = new Promise<Exit>((resolve) => {
      const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
        this.#ended ??= { code, signal };
        this.#wake();
        resolve(this.#ended);
      };
      this.#process.once("error", (error) => {
        this.#errorLines.push(String(error));
        if (this.#process.pid === undefined) ended(127, null);
      });
      this.#process.once("close", ended);
      this.#process.once("exit", (code, signal) => {
        setTimeout(() => ended(code, signal), lastOutputMs).unref();
      });
    });
  }

  get pid(): number {
    if (this.#process.pid === undefined) throw new Error(`could not start: ${this.#title}`);
    return this.#process.pid;
  }

  /** The lines of standard output so far. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  get stdout(): string {
    return this.#lines.join("\n");
  }

  get stderr(): string {
    return this.#errorLines.join("\n");
  }

  /** How it ended; undefined while it runs. */
  get ended(): Exit | undefined {
    return this.#ended;
  }

  /** The first line of standard output that matches, from those already there or to come. */
  waitFor(match: LineMatch, timeoutMs: number, options: WaitOptions = {}): Promise<string> {
    return this.#waitIn(this.#lines, match, timeoutMs, options);
  }

  /** The same for standard error. */
  waitForError(match: LineMatch, timeoutMs: number, options: WaitOptions = {}): Promise<string> {
    return this.#waitIn(this.#errorLines, match, timeoutMs, options);
  }

  write(text: string): void {
    this.#process.stdin?.write(text);
  }

  end(): void {
    this.#process.stdin?.end();
  }

  /** Sends a signal and does not wait. */
  signal(name: NodeJS.Signals): void {
    this.#process.kill(name);
  }

  /** Sends a signal, SIGKILL by default, and waits for the end. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<Exit> {
    this.#process.kill(signal);
    return await this.exit;
  }

  /** Stops it as if it hung, and resolves when it stands still. */
  async stop(): Promise<void> {
    this.#process.kill("SIGSTOP");
    // The signal is delivered thread by thread; until the last one stops, answers may still go out.
    while (this.#ended === undefined && runs(this.pid))
      await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** Lets a stopped process go on. */
  cont(): void {
    this.#process.kill("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #collect(stream: NodeJS.ReadableStream | null, lines: string[]): void {
    let rest = "";
    const take = (text: string): void => {
      const pieces = (rest + text).split("\n");
      rest = pieces.pop() ?? "";
      lines.push(...pieces);
      if (pieces.length > 0) this.#wake();
    };
    stream?.setEncoding("utf8");
    stream?.on("data", take);
    stream?.on("end", () => {
      if (rest !== "") take("\n");
    });
  }

  #wake(): void {
    for (const look of [...this.#waiting]) look();
  }

  #waitIn(
    lines: readonly string[],
    match: LineMatch,
    timeoutMs: number,
    { from = 0 }: WaitOptions,
  ): Promise<string> {
    const matches = matcher(match);
    let next = from;
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const fail = (why: string): void => {
        done();
        reject(new Error(`no line matching ${match} ${why}\n${this.#report()}`));
      };
      const look = (): void => {
        while (next < lines.length) {
          const line = lines[next++] as string;
          if (!matches(line)) continue;
          done();
          resolve(line);
          return;
        }
        if (this.#ended !== undefined) fail("before the end of the process");
      };
      const timer = setTimeout(() => fail(`within ${timeoutMs} ms`), timeoutMs);
      this.#waiting.add(look);
      look();
    });
  }

  #report(): string {
    const end = this.#ended === undefined ? "still runs" : `ended with ${JSON.stringify(this.#ended)}`;
    const tail = (lines: readonly string[]): string => lines.slice(-40).join("\n");
    return `${this.#title}: ${end}\n--- stdout\n${tail(this.#lines)}\n--- stderr\n${tail(this.#errorLines)}`;
  }
}

function matcher(match: LineMatch): (line: string) => boolean {
  if (typeof match === "function") return match;
  return typeof match === "string" ? (line) => line.includes(match) : (line) => match.test(line);
}

/** Whether any thread of the process still runs; known on Linux alone. */
function runs(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).some((thread) => {
      const status = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
      // The state stands after the command's name, which may hold anything, in parentheses.
      return !"TtZX".includes(status.charAt(status.lastIndexOf(")") + 2));
    });
  } catch {
    return false;
  }
}
