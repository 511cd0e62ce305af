import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { Worker } from "node:worker_threads";

/**
 * Node.js accepts whatever the kernel has taken, so a port on which `connect` hangs
 * needs a listener whose thread sleeps, and whose queue is full: the kernel then drops
 * further connection requests. Linux; elsewhere the kernel may refuse instead.
 */
const thread = `
  const { parentPort, workerData } = require("node:worker_threads");
  const server = require("node:net").createServer();
  server.on("error", (error) => { throw error; });
  server.listen({ port: workerData.port, host: "127.0.0.1", backlog: 1 }, () => {
    parentPort.postMessage("listening");
    Atomics.wait(new Int32Array(workerData.wake), 0, 0);
    server.close();
  });
`;

/** How long a connection on loopback may take before the queue counts as full. */
const fullAfterMs = 50;
/** A queue of one holds two; more than a few means that this kernel works otherwise. */
const fillersMax = 16;

/** Holds a loopback port on which connection requests get no answer at all. */
export class DeafListener {
  readonly #worker: Worker;
  readonly #wake: SharedArrayBuffer;
  readonly #fillers: Socket[] = [];

  static async start(port: number): Promise<DeafListener> {
    const wake = new SharedArrayBuffer(4);
    const worker = new Worker(thread, { eval: true, workerData: { port, wake } });
    await once(worker, "message");
    const listener = new DeafListener(worker, wake);
    try {
      await listener.#fill(port);
      return listener;
    } catch (error) {
      await listener.close();
      throw error;
    }
  }

  private constructor(worker: Worker, wake: SharedArrayBuffer) {
    this.#worker = worker;
    this.#wake = wake;
  }

  async close(): Promise<void> {
    for (const filler of this.#fillers.splice(0)) filler.destroy();
    const gone = once(this.#worker, "exit");
    Atomics.store(new Int32Array(this.#wake), 0, 1);
    Atomics.notify(new Int32Array(this.#wake), 0);
    await gone;
  }

  async #fill(port: number): Promise<void> {
    while (this.#fillers.length < fillersMax) {
      const filler = createConnection({ port, host: "127.0.0.1" });
      filler.on("error", () => {});
      this.#fillers.push(filler);
      const taken = await Promise.race([
        once(filler, "connect").then(
          () => true,
          () => true,
        ),
        new Promise<boolean>((resolve) => setTimeout(() => resolve(false), fullAfterMs)),
      ]);
      if (!taken) return;
    }
    throw new Error("this system goes on taking connections that nobody accepts");
  }
}
