import type { IncomingMessage } from "node:http";
import type { Denial } from "./access.ts";

/** A command is a few short texts. */
const mostBytes = 16_384;

/** The JSON object that a request holds, or why there is none. Rejects where the connection breaks. */
export async function bodyOf(
  request: IncomingMessage,
): Promise<{ readonly body: Readonly<Record<string, unknown>> } | { readonly denial: Denial }> {
  const [type = ""] = (request.headers["content-type"] ?? "").split(";");
  if (type.trim().toLowerCase() !== "application/json") {
    const message = `content-type must be application/json, got ${JSON.stringify(type)}`;
    return { denial: { status: 415, code: "NOT_JSON", message } };
  }
  const pieces: Buffer[] = [];
  let bytes = 0;
  // What is too long is not read to its end, and still gets its answer.
  for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > mostBytes) {
      const message = `the body must be of ${mostBytes} bytes at most`;
      return { denial: { status: 413, code: "TOO_LARGE", message } };
    }
    pieces.push(piece);
  }
  try {
    const body: unknown = JSON.parse(Buffer.concat(pieces).toString("utf8"));
    if (typeof body === "object" && body !== null && !Array.isArray(body)) {
      return { body: body as Record<string, unknown> };
    }
  } catch {
    // Told below, whatever it is instead.
  }
  const message = 'the body must be a JSON object, such as {"election":"/merc"}';
  return { denial: { status: 400, code: "NOT_JSON", message } };
}
