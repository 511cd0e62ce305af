import { connect, type Socket } from "node:net";

/** What came back to bytes that were sent as they are. */
export interface RawAnswer {
  readonly status: number;
  readonly statusLine: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** Sends a request as written and reads to the end of the connection: add `Connection: close` in HTTP/1.1. */
export async function rawHttp(port: number, lines: readonly string[], body = ""): Promise<RawAnswer> {
  const socket = connect({ port, host: "127.0.0.1" });
  socket.write(`${lines.join("\r\n")}\r\n\r\n${body}`);
  return parse(await textOf(socket));
}

async function textOf(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("utf8");
  for await (const piece of socket) text += piece;
  return text;
}

function parse(text: string): RawAnswer {
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...fields] = text.slice(0, end).split("\r\n");
  const headers = new Map(
    fields.map((field) => {
      const colon = field.indexOf(":");
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()] as const;
    }),
  );
  const sent = text.slice(end + 4);
  const body = headers.get("transfer-encoding") === "chunked" ? unchunked(sent) : sent;
  return { status: Number(statusLine.split(" ")[1]), statusLine, headers, body };
}

/** For text of one byte a character. */
function unchunked(text: string): string {
  const line = text.indexOf("\r\n");
  const size = Number.parseInt(text.slice(0, line), 16);
  if (!(size > 0)) return "";
  const end = line + 2 + size;
  return text.slice(line + 2, end) + unchunked(text.slice(end + 2));
}
