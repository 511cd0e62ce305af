import { type IncomingMessage, STATUS_CODES } from "node:http";
import { type Duplex, pipeline } from "node:stream";
import { systemClock } from "../clock.ts";
import type { Exchange, Onward, Refusal } from "./exchange.ts";
import { endToEnd } from "./headers.ts";
import { badGateway } from "./request-exchange.ts";
import { openUpstream, whenConnected } from "./upstream.ts";

/** A connection that asks to go on in another protocol, such as WebSocket. */
export class UpgradeExchange implements Exchange {
  readonly request: IncomingMessage;
  readonly lasting = true;
  readonly #socket: Duplex;
  readonly #head: Buffer;

  constructor(request: IncomingMessage, socket: Duplex, head: Buffer) {
    this.request = request;
    this.#socket = socket;
    this.#head = head;
    // Node.js has taken its own listener away: an error without one ends the process.
    socket.on("error", () => {});
  }

  get gone(): boolean {
    return this.#socket.destroyed;
  }

  onEnd(listener: () => void): () => void {
    this.#socket.once("close", listener);
    return () => this.#socket.off("close", listener);
  }

  cut(): void {
    this.#socket.destroy();
  }

  closeAfter(): void {}

  refuse({ status, headers, text }: Refusal): void {
    const own = { ...headers, "content-type": "text/plain; charset=utf-8" };
    const length = Buffer.byteLength(text);
    this.#begin(status, STATUS_CODES[status] ?? "", [
      ...Object.entries(own).flat(),
      ...["content-length", `${length}`, "connection", "close"],
    ]);
    this.#socket.end(text);
  }

  forward(onward: Onward): Promise<"done" | "unsent"> {
    return new Promise((resolve) => {
      const outgoing = openUpstream(this.request, onward, this.request.headers.upgrade);
      let sent = false;
      whenConnected(outgoing, () => {
        sent = true;
        onward.reached();
        outgoing.end();
      });
      const { answerTimeoutMs } = onward;
      const cancel = systemClock.at(systemClock.now() + answerTimeoutMs, () => {
        outgoing.destroy(new Error(`no answer within ${answerTimeoutMs} ms`));
      });
      const clientGone = this.onEnd(() => {
        cancel();
        outgoing.destroy();
        resolve("done");
      });
      outgoing.once("upgrade", (answer: IncomingMessage, upstream: Duplex, head: Buffer) => {
        cancel();
        this.#begin(answer.statusCode ?? 101, answer.statusMessage ?? "", answer.rawHeaders);
        this.#join(upstream, head);
      });
      outgoing.once("response", (answer) => {
        cancel();
        const headers = [...endToEnd(answer.rawHeaders), "Connection", "close"];
        this.#begin(answer.statusCode ?? 502, answer.statusMessage ?? "", headers);
        pipeline(answer, this.#socket, () => {});
      });
      outgoing.on("error", (error) => {
        cancel();
        if (this.gone) return;
        clientGone();
        if (sent) this.refuse(badGateway(onward, error));
        resolve(sent ? "done" : "unsent");
      });
    });
  }

  /** From here on the two sides talk to each other; the end of one is the end of the other. */
  #join(upstream: Duplex, head: Buffer): void {
    if (head.length > 0) this.#socket.write(head);
    if (this.#head.length > 0) upstream.write(this.#head);
    pipeline(this.#socket, upstream, this.#socket, () => {});
  }

  #begin(status: number, message: string, headers: readonly string[]): void {
    const lines = [`HTTP/1.1 ${status} ${message}`];
    for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
    this.#socket.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  }
}
