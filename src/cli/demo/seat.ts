import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { instant, type Order, type Report } from "./protocol.ts";

/** What the process at a seat is doing; `new`: there was none yet. */
export type SeatState = "new" | "down" | "starting" | "standing" | "leaving";

export interface SeatListener {
  reported(seat: Seat, report: Report): void;
  /** The process has ended. `expected`: somebody here wanted that. */
  ended(seat: Seat, how: { readonly at: number; readonly expected: boolean; readonly why: string }): void;
}

/** One of the demo's data centres: a name, and a member's process that comes and goes. */
export class Seat {
  readonly name: string;
  readonly #listener: SeatListener;
  readonly #order: Omit<Extract<Order, { on: "stand" }>, "name">;
  #child: ChildProcess | undefined;
  #state: SeatState = "new";
  #id: string | undefined;
  #address: string | undefined;
  #expected = false;
  #lastWords = "";

  constructor(name: string, order: Omit<Extract<Order, { on: "stand" }>, "name">, listener: SeatListener) {
    this.name = name;
    this.#order = order;
    this.#listener = listener;
  }

  get state(): SeatState {
    return this.#state;
  }

  /** The id of the process there is now, when it stands. */
  get id(): string | undefined {
    return this.#id;
  }

  get address(): string | undefined {
    return this.#address;
  }

  start(): void {
    if (this.#child !== undefined) return;
    const file = fileURLToPath(new URL("./member-process.js", import.meta.url));
    // The last pipe is the tether: it closes when this process ends, in whatever way.
    const stdio = ["ignore", "ignore", "pipe", "ipc", "pipe"] as const;
    const child = fork(file, [this.name], { stdio: [...stdio], execArgv: [], serialization: "advanced" });
    this.#child = child;
    this.#state = "starting";
    this.#expected = false;
    this.#lastWords = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#lastWords = text.trim().split("\n").at(-1) ?? "";
    });
    for (const pipe of child.stdio) pipe?.on("error", () => {});
    child.on("message", (report: Report) => this.#reported(child, report));
    // What it reported last may still be in the channel when its exit is known, and it counts.
    let how: string | undefined;
    const gone = (): void => {
      if (how !== undefined && !child.connected) this.#ended(child, how);
    };
    child.once("disconnect", gone);
    child.once("exit", (code, signal) => {
      how ??= signal ?? `exit code ${code}`;
      gone();
    });
    child.once("error", (error) => {
      how ??= error.message;
      if (child.pid === undefined) this.#ended(child, how);
    });
    this.#send({ ...this.#order, name: this.name });
  }

  /** Kills the process as a power cut would. Returns the instant before. */
  kill(): number {
    const at = instant();
    this.#expected = true;
    this.#child?.kill("SIGKILL");
    return at;
  }

  /** Asks the process to leave the election and to end. Returns the instant before. */
  leave(): number {
    const at = instant();
    this.#expected = true;
    this.#state = "leaving";
    this.#send({ on: "leave" });
    return at;
  }

  #send(order: Order): void {
    // A child that is gone already is told by its exit.
    this.#child?.send(order, () => {});
  }

  #reported(child: ChildProcess, report: Report): void {
    if (this.#child !== child) return;
    if (report.on === "standing") {
      this.#state = "standing";
      this.#id = report.id;
      this.#address = report.address;
    } else if (report.on === "failed") this.#lastWords = report.message;
    this.#listener.reported(this, report);
  }

  #ended(child: ChildProcess, how: string): void {
    if (this.#child !== child) return;
    const why = this.#lastWords === "" ? how : `${how}: ${this.#lastWords}`;
    this.#child = undefined;
    this.#state = "down";
    this.#id = undefined;
    this.#address = undefined;
    this.#listener.ended(this, { at: instant(), expected: this.#expected, why });
  }
}
