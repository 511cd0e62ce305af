import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { GuardianOrder, GuardianWord } from "./protocol.ts";

/** Flags of Node.js that decide how etcd is reached; others, such as a debugger's, are the service's own. */
const connecting = /^--(use-\w+-ca|tls-|openssl-|(enable|force)-fips|dns-result-order=)/;
/** It does little and keeps little: small heaps collect their garbage sooner. */
const smallHeap = ["--max-semi-space-size=1", "--max-old-space-size=64"];

export interface GuardianListener {
  /** Any word is a sign of life. */
  heard(): void;
  warning(message: string, why: string): void;
}

/** One guardian process, as the service sees it. It does not keep the service alive. */
export class GuardianChild {
  readonly #process: ChildProcess;
  readonly #listener: GuardianListener;
  #isReady = false;
  /** Resolves when it can be relied on; not at all if that never comes. */
  readonly ready: Promise<void>;
  #resolveReady: () => void = () => {};
  /** Resolves when it has ended, or could not be started. */
  readonly ended: Promise<void>;

  /** Throws where processes cannot be started at all. */
  constructor(listener: GuardianListener) {
    const { NODE_OPTIONS: options = "" } = process.env;
    const flags = [...process.execArgv, ...options.split(" ")].filter((flag) => connecting.test(flag));
    const file = fileURLToPath(new URL("./guardian-process.js", import.meta.url));
    this.#listener = listener;
    this.#process = spawn(process.execPath, [...smallHeap, ...flags, file, String(process.pid)], {
      // Away from the terminal and the service's group.
      detached: true,
      // What connects to etcd is secret, and goes through the pipe.
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, NODE_OPTIONS: "" },
    });
    this.ready = new Promise((resolve) => {
      this.#resolveReady = resolve;
    });
    this.ended = new Promise((resolve) => {
      this.#process.once("exit", () => resolve());
      this.#process.once("error", () => resolve());
    });
    // It may die at any time; without the pipe it is blind.
    this.#process.stdin?.on("error", () => this.#process.kill("SIGKILL"));
    const { stdin, stdout } = this.#process;
    this.#process.unref();
    for (const pipe of [stdin, stdout]) (pipe as Socket | null)?.unref();
    if (stdout !== null) createInterface({ input: stdout }).on("line", (line) => this.#onLine(line));
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  tell(order: GuardianOrder): void {
    this.#write(`${JSON.stringify(order)}\n`);
  }

  /** A sign of life. One that finds the pipe full is left out: a guardian that is stopped reads nothing. */
  beat(): void {
    if (this.#process.stdin?.writableLength === 0) this.#write("\n");
  }

  /** Ends it without its doing anything. Resolves when it is gone. */
  async kill(): Promise<void> {
    // Somebody waits for this.
    this.#process.ref();
    this.#process.kill("SIGKILL");
    await this.ended;
  }

  #onLine(line: string): void {
    this.#listener.heard();
    if (line === "") return;
    const word = JSON.parse(line) as GuardianWord;
    if (word.on === "warning") this.#listener.warning(word.message, word.why);
    if (word.on !== "ready") return;
    this.#isReady = true;
    this.#resolveReady();
  }

  #write(text: string): void {
    if (this.#process.stdin?.writable === true) this.#process.stdin.write(text);
  }
}
