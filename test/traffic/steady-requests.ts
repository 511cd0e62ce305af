import { Agent, get } from "node:http";
import { expect } from "vitest";
import { eventually } from "../support/eventually.ts";

/** What became of one request. */
export interface Outcome {
  readonly kind: "kept" | "new";
  /** Whether the request went out on a connection that had served one before. */
  readonly reused: boolean;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly status: number | undefined;
  readonly error: string | undefined;
  readonly servedBy: string;
}

/** Nobody waits longer for an answer. */
const patienceMs = 60_000;

/** Steady requests, by turns on kept connections and on new ones. */
export class Load {
  readonly outcomes: Outcome[] = [];
  readonly #url: string;
  // Each connection has its turn, so that none stands idle for long.
  readonly #kept = new Agent({ keepAlive: true, maxSockets: 16, scheduling: "fifo" });
  readonly #timer: NodeJS.Timeout;
  #sent = 0;
  #underWay = 0;

  constructor(address: string, perSecond: number) {
    this.#url = `http://${address}/`;
    const startedAt = performance.now();
    this.#timer = setInterval(() => {
      const due = ((performance.now() - startedAt) * perSecond) / 1_000;
      while (this.#sent < due) this.#send(this.#sent++ % 2 === 0 ? "kept" : "new");
    }, 5);
  }

  get failures(): readonly Outcome[] {
    return this.outcomes.filter(({ status }) => status !== 200);
  }

  /** Sends no more, and waits for the outcome of every request. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    await eventually(() => expect(this.#underWay).toBe(0), { timeoutMs: patienceMs });
    this.#kept.destroy();
  }

  /** Waits until somebody, but not the one named, has served so many requests from now on; who that is. */
  async served(count: number, besides?: string): Promise<string> {
    const from = this.outcomes.length;
    return await eventually(
      () => {
        const since = this.outcomes.slice(from);
        const names = new Set(since.map(({ servedBy }) => servedBy).filter((name) => name !== besides));
        for (const name of names) {
          const his = since.filter(({ servedBy, status }) => servedBy === name && status === 200);
          if (his.length >= count) return name;
        }
        throw new Error(`nobody else has served ${count} requests, but: ${tally(since)}`);
      },
      { timeoutMs: patienceMs },
    );
  }

  #send(kind: Outcome["kind"]): void {
    const startedAt = performance.now();
    this.#underWay++;
    let settled = false;
    const agent = kind === "kept" ? this.#kept : false;
    const request = get(this.#url, { agent, timeout: patienceMs }, (response) => {
      let servedBy = "";
      response.setEncoding("utf8").on("data", (text) => {
        servedBy += text;
      });
      response.on("error", (error: NodeJS.ErrnoException) => settle(undefined, error.code ?? error.message));
      response.on("end", () => settle(response.statusCode, undefined, servedBy));
    });
    const settle = (status: number | undefined, error: string | undefined, servedBy: string = ""): void => {
      if (settled) return;
      settled = true;
      this.#underWay--;
      const { reusedSocket: reused } = request;
      const times = { startedAt, endedAt: performance.now() };
      this.outcomes.push({ kind, reused, ...times, status, error, servedBy });
    };
    request.on("error", (error: NodeJS.ErrnoException) => settle(undefined, error.code ?? error.message));
    request.on("timeout", () => request.destroy(new Error("timeout")));
  }
}

/** How many outcomes there were of each kind. */
function tally(outcomes: readonly Outcome[]): string {
  const counts = new Map<string, number>();
  for (const { status, error, servedBy } of outcomes) {
    const kind = `${status ?? error} ${servedBy}`.trim();
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${count} x ${kind}`).join(", ");
}
