import { type ClientRequest, type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import { pipeline, type Writable } from "node:stream";
import { systemClock } from "../clock.ts";
import { onAbort } from "../waiting.ts";
import { authority } from "./address.ts";
import type { Exchange, Onward, Refusal } from "./exchange.ts";
import { endToEnd } from "./headers.ts";
import { onStandstill } from "./standstill.ts";
import { hasBody, openUpstream, repeatable, whenConnected } from "./upstream.ts";

/** A request and its response, as `node:http` gives them. */
export class RequestExchange implements Exchange {
  readonly request: IncomingMessage;
  readonly lasting = false;
  readonly #response: ServerResponse;
  /** Called before this side writes an answer: a framework must not write one as well. */
  readonly #onTaken: () => void;

  constructor(request: IncomingMessage, response: ServerResponse, onTaken: () => void = () => {}) {
    this.request = request;
    this.#response = response;
    this.#onTaken = onTaken;
  }

  get gone(): boolean {
    return this.#response.destroyed || this.#response.closed;
  }

  onEnd(listener: () => void): () => void {
    this.#response.once("close", listener);
    return () => this.#response.off("close", listener);
  }

  cut(): void {
    this.#response.destroy();
  }

  closeAfter(): void {
    if (!this.#response.headersSent) this.#response.shouldKeepAlive = false;
  }

  refuse({ status, headers, text }: Refusal): void {
    const response = this.#response;
    if (this.gone || response.headersSent) return;
    this.#onTaken();
    // What the client still sends is not wanted, but must be read, or it never looks at the answer.
    this.request.resume();
    // Said in full: an answer that could not be passed on may have left its own words.
    response.writeHead(status, STATUS_CODES[status] ?? "", {
      ...headers,
      "content-type": "text/plain; charset=utf-8",
      "content-length": Buffer.byteLength(text),
    });
    response.end(text);
  }

  forward(onward: Onward): Promise<Error | undefined> {
    return new Promise((resolve) => {
      const outgoing = openUpstream(this.request, onward);
      const attempt = new Attempt(this.request, outgoing, onward);
      const forget = this.onEnd(() => {
        outgoing.destroy();
        resolve(undefined);
      });
      const failed = (error: Error): void => {
        if (this.gone || this.#response.headersSent) return;
        forget();
        const { failure, mayBeRepeated } = attempt;
        if (failure === "unreachable" || !mayBeRepeated) onward.failed(failure, error);
        if (!mayBeRepeated) this.refuse(badGateway(onward, error));
        resolve(mayBeRepeated ? error : undefined);
      };
      outgoing.once("response", (incoming) => {
        attempt.answered();
        try {
          this.#relay(incoming, onward);
        } catch (cause) {
          forget();
          const error = new Error(`its answer cannot be passed on: ${(cause as Error).message}`, { cause });
          onward.failed("broken", error);
          this.refuse(badGateway(onward, error));
          resolve(undefined);
          outgoing.destroy();
        }
      });
      outgoing.on("error", failed);
      // What ends neither way, such as an upgrade that nobody asked for, ends here.
      outgoing.once("close", () => failed(new Error("the connection was closed")));
    });
  }

  #relay(incoming: IncomingMessage, onward: Onward): void {
    const { statusCode = 502, statusMessage = "" } = incoming;
    const headers = endToEnd(incoming.rawHeaders);
    const { last } = onward;
    this.#onTaken();
    // Throws where the leader's words are none of HTTP, which Node.js reads and does not write.
    this.#response.writeHead(statusCode, statusMessage, last ? [...headers, "Connection", "close"] : headers);
    onward.answered();
    // An answer that breaks off must break off here, too: `pipeline` destroys the response then.
    pipeline(incoming, this.#response, breakOffStalled(incoming, this.#response, onward));
  }
}

/** What becomes of a request that is passed on, until its answer begins. */
class Attempt {
  readonly #request: IncomingMessage;
  readonly #forgets: (() => void)[] = [];
  #at: "connecting" | "sent" | "late" = "connecting";

  constructor(request: IncomingMessage, outgoing: ClientRequest, onward: Onward) {
    this.#request = request;
    const { superseded, answerTimeoutMs, reached } = onward;
    whenConnected(outgoing, () => {
      this.#at = "sent";
      reached();
      if (hasBody(request)) this.#sendBody(outgoing, answerTimeoutMs);
      else outgoing.end();
      if (!repeatable(request)) return;
      this.#forgets.push(onAbort(superseded, () => outgoing.destroy(new Error("another member leads"))));
    });
    outgoing.once("finish", () => {
      const late = (): void => this.#late(outgoing, `no answer within ${answerTimeoutMs} ms`);
      this.#forgets.push(systemClock.at(systemClock.now() + answerTimeoutMs, late));
    });
    outgoing.once("close", () => this.answered());
  }

  /** As what its failing now is counted. */
  get failure(): "unreachable" | "broken" | "late" {
    return ({ connecting: "unreachable", sent: "broken", late: "late" } as const)[this.#at];
  }

  /** Whether it may be sent to the next leader: nobody has got it, or it only asked. */
  get mayBeRepeated(): boolean {
    return this.#at === "connecting" || (this.#at === "sent" && repeatable(this.#request));
  }

  /** A client may take its time to send, a leader may not to read. */
  #sendBody(outgoing: ClientRequest, answerTimeoutMs: number): void {
    let drains = 0;
    outgoing.on("drain", () => {
      drains++;
    });
    const progress = (): number | undefined => {
      const waits = outgoing.writableNeedDrain || (outgoing.writableEnded && !outgoing.writableFinished);
      return waits ? drains : undefined;
    };
    const late = (): void => this.#late(outgoing, `no answer, and no reading, within ${answerTimeoutMs} ms`);
    this.#forgets.push(onStandstill(answerTimeoutMs, progress, late));
    this.#request.pipe(outgoing);
  }

  #late(outgoing: ClientRequest, message: string): void {
    this.#at = "late";
    outgoing.destroy(new Error(message));
  }

  /** The answer has begun, or there will be none. */
  answered(): void {
    for (const forget of this.#forgets.splice(0)) forget();
  }
}

/** Breaks an answer off in whose middle the leader stops. The result is to be called when it has ended. */
export function breakOffStalled(
  incoming: IncomingMessage,
  client: Writable,
  { answerTimeoutMs, failed }: Onward,
): () => void {
  const { socket } = incoming;
  const progress = (): number | undefined => (client.writableNeedDrain ? undefined : socket.bytesRead);
  return onStandstill(answerTimeoutMs, progress, () => {
    const error = new Error(`no more of the answer within ${answerTimeoutMs} ms`);
    failed("stalled", error);
    incoming.destroy(error);
  });
}

/** The answer to a request of which nobody knows whether the leader has carried it out. */
export function badGateway({ address }: Onward, { message }: Error): Refusal {
  const text = `the leader at ${authority(address)} has not answered: ${message}\n`;
  return { status: message.startsWith("no answer") ? 504 : 502, headers: {}, text };
}
