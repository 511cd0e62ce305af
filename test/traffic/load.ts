import { Agent, get, type IncomingMessage } from "node:http";

/** How a request ended that was not answered with 200. */
export interface Failure {
  readonly port: number;
  readonly kept: boolean;
  readonly sentAt: number;
  readonly what: string;
}

export interface LoadOptions {
  /** The ports that a balancer would send new connections to now. */
  readonly ports: () => readonly number[];
  /** Requests a second, half of them on kept connections, half on new ones. */
  readonly perSecond: number;
  readonly path?: string;
}

/** How many kept connections share the load. */
const kept = 20;

/** Steady HTTP load, whatever the answers take, on connections that are kept and on new ones. */
export class Load {
  readonly #options: LoadOptions;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #agents: Agent[] = [];
  readonly #underWay: Set<Promise<void>> = new Set();
  readonly failures: Failure[] = [];
  readonly bodies: Map<string, number> = new Map();
  answered = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    const everyMs = 1_000 / (options.perSecond / 2);
    this.#repeat(everyMs, () => this.#ask(this.#pick(), false));
    for (let i = 0; i < kept; i++) this.#keep(everyMs * kept);
  }

  /** Sends no more, and waits for the answers that are due. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    await Promise.all(this.#underWay);
    for (const agent of this.#agents) agent.destroy();
  }

  /** One client that keeps its connection until it is told to close it, and then opens one to another member. */
  #keep(everyMs: number): void {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    this.#agents.push(agent);
    let port = this.#pick();
    let waits = false;
    this.#repeat(everyMs, async () => {
      // One after the other: what queues behind a slow answer would go to a connection that is no more.
      if (waits) return;
      waits = true;
      const answer = await this.#ask(port, true, agent);
      waits = false;
      if (answer?.headers.connection !== "keep-alive") port = this.#pick();
    });
  }

  #pick(): number {
    const ports = this.#options.ports();
    return ports[Math.floor(Math.random() * ports.length)] as number;
  }

  #repeat(everyMs: number, task: () => Promise<unknown>): void {
    this.#timers.push(
      setInterval(() => {
        const done: Promise<void> = task().then(() => {
          this.#underWay.delete(done);
        });
        this.#underWay.add(done);
      }, everyMs),
    );
  }

  /** Never rejects. */
  async #ask(
    port: number,
    isKept: boolean,
    agent: Agent | false = false,
  ): Promise<IncomingMessage | undefined> {
    const sentAt = performance.now();
    try {
      const [answer, body] = await answerTo(port, this.#options.path ?? "/", agent);
      this.answered++;
      this.bodies.set(body, (this.bodies.get(body) ?? 0) + 1);
      if (answer.statusCode !== 200) {
        this.failures.push({ port, kept: isKept, sentAt, what: `${answer.statusCode} ${body}` });
      }
      return answer;
    } catch (error) {
      this.failures.push({ port, kept: isKept, sentAt, what: String(error) });
      return undefined;
    }
  }
}

function answerTo(port: number, path: string, agent: Agent | false): Promise<[IncomingMessage, string]> {
  return new Promise((resolve, reject) => {
    const outgoing = get({ host: "127.0.0.1", port, path, agent, timeout: 20_000 }, (answer) => {
      answer.toArray().then((pieces) => resolve([answer, pieces.join("")]), reject);
    });
    outgoing.on("error", reject);
    outgoing.on("timeout", () => outgoing.destroy(new Error("no answer within 20 s")));
  });
}
