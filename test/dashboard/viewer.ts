import { get, type IncomingMessage, request } from "node:http";
import type { Messages } from "../../src/dashboard/messages.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  /** The body as JSON. */
  json(): Record<string, unknown>;
}

export interface AskOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Asks as told, also by a `Host` that is not the server's, and for a path that `URL` would tidy up. */
export function ask(
  base: string,
  path: string,
  { method = "GET", headers = {}, body }: AskOptions = {},
): Promise<Answer> {
  const { hostname, port } = new URL(base);
  return new Promise((resolve, reject) => {
    const sent = request({ host: hostname, port, path, method, headers, agent: false }, async (response) => {
      let text = "";
      response.setEncoding("utf8");
      try {
        for await (const piece of response) text += piece;
      } catch (error) {
        reject(error);
        return;
      }
      const { statusCode: status = 0, headers: received } = response;
      resolve({ status, headers: received, text, json: () => JSON.parse(text) });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

type Told = { [K in keyof Messages]: { readonly kind: K; readonly message: Messages[K] } }[keyof Messages];

/** Reads a dashboard's stream of events as a page does, until it is closed. */
export class Viewer {
  readonly status: number;
  readonly told: Told[] = [];
  readonly #response: IncomingMessage;
  /** Resolves when the stream has ended, whoever ended it. */
  readonly ended: Promise<void>;

  static open(base: string, election?: string): Promise<Viewer> {
    const query = election === undefined ? "" : `?election=${encodeURIComponent(election)}`;
    return new Promise((resolve, reject) => {
      get(`${base}events${query}`, { agent: false }, (response) => resolve(new Viewer(response))).on(
        "error",
        reject,
      );
    });
  }

  private constructor(response: IncomingMessage) {
    this.#response = response;
    this.status = response.statusCode ?? 0;
    let rest = "";
    response.setEncoding("utf8");
    response.on("error", () => {});
    response.on("data", (piece: string) => {
      const events = `${rest}${piece}`.split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) {
        const [, kind, data = ""] = /^event: (\w+)\ndata: (.*)$/.exec(event) ?? [];
        this.told.push({ kind, message: JSON.parse(data) } as Told);
      }
    });
    this.ended = new Promise((resolve) => response.on("close", resolve));
  }

  /** The newest message of a kind. */
  last<K extends keyof Messages>(kind: K): Messages[K] | undefined {
    return this.told.findLast((each) => each.kind === kind)?.message as Messages[K] | undefined;
  }

  close(): void {
    this.#response.destroy();
  }
}
