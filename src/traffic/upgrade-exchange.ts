import { type IncomingMessage, STATUS_CODES } from "node:http";
import { type Duplex, pipeline } from "node:stream";
import { systemClock } from "../clock.ts";
import { onAbort } from "../waiting.ts";
import { noteUpgraded } from "./close-server.ts";
import type { Exchange, Onward, Refusal } from "./exchange.ts";
import { endToEnd } from "./headers.ts";
import { badGateway, breakOffStalled } from "./request-exchange.ts";
import { openUpstream, repeatable, whenConnected } from "./upstream.ts";

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
    noteUpgraded(socket);
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
    const own = {
      ...headers,
      ...{ "content-type": "text/plain; charset=utf-8", "content-length": `${Buffer.byteLength(text)}` },
      connection: "close",
    };
    this.#begin(status, STATUS_CODES[status] ?? "", Object.entries(own).flat());
    // A client that does not end its half must not keep the connection: nobody else looks after it any more.
    this.#socket.end(text, () => this.#socket.destroy());
  }

  forward(onward: Onward): Promise<Error | undefined> {
    return new Promise((resolve) => {
      const outgoing = openUpstream(this.request, onward, this.request.headers.upgrade);
      let at: "connecting" | "sent" | "late" | "answered" = "connecting";
      const { answerTimeoutMs, superseded } = onward;
      // Where it has been answered it is served by one who leads no more.
      const forgetSuperseded = onAbort(superseded, () => {
        outgoing.destroy(new Error("another member leads"));
        if (at === "answered") this.#socket.destroy();
      });
      const cancel = systemClock.at(systemClock.now() + answerTimeoutMs, () => {
        if (at === "sent") at = "late";
        outgoing.destroy(new Error(`no answer within ${answerTimeoutMs} ms`));
      });
      const forget = this.onEnd(() => {
        cancel();
        forgetSuperseded();
        outgoing.destroy();
        resolve(undefined);
      });
      const answered = (answer: IncomingMessage, headers: readonly string[]): void => {
        cancel();
        at = "answered";
        onward.answered();
        this.#begin(answer.statusCode ?? 502, answer.statusMessage ?? "", headers);
      };
      const failed = (error: Error): void => {
        cancel();
        if (this.gone || at === "answered") return;
        forget();
        forgetSuperseded();
        const again = at === "connecting" || (superseded.aborted && repeatable(this.request));
        const failure = ({ connecting: "unreachable", sent: "broken", late: "late" } as const)[at];
        if (failure === "unreachable" || !again) onward.failed(failure, error);
        if (!again) this.refuse(badGateway(onward, error));
        resolve(again ? error : undefined);
      };
      whenConnected(outgoing, () => {
        at = "sent";
        onward.reached();
        outgoing.end();
      });
      outgoing.once("upgrade", (answer: IncomingMessage, upstream: Duplex, head: Buffer) => {
        answered(answer, answer.rawHeaders);
        this.#join(upstream, head);
      });
      outgoing.once("response", (answer) => {
        answered(answer, [...endToEnd(answer.rawHeaders), "Connection", "close"]);
        const forgetStalled = breakOffStalled(answer, this.#socket, onward);
        pipeline(answer, this.#socket, () => {
          forgetStalled();
          this.#socket.destroy();
        });
      });
      outgoing.on("error", failed);
      outgoing.once("close", () => failed(new Error("the connection was closed")));
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
