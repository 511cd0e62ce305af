import type { IncomingMessage } from "node:http";

/** Says who leads, on an answer that the leader did not give. */
export const leaderHeader = "X-Succession-Leader";
/** The fencing token of the term by which a request is served. */
export const tokenHeader = "X-Succession-Token";
/** How many members have passed a request on: where that grows, members pass it on in circles. */
export const hopsHeader = "X-Succession-Hops";

const ours = "x-succession-";

/** What concerns one connection alone, RFC 9110 section 7.6.1; `Expect` has been answered where it arrived. */
const hopByHop: ReadonlySet<string> = new Set([
  ...["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"],
  ...["te", "trailer", "transfer-encoding", "upgrade", "expect"],
]);

/** Headers as on the wire: name, value, name, value. */
export type RawHeaders = string[];

/** How often members have passed this request on. */
export function hopsOf(request: IncomingMessage): number {
  const hops = Number(request.headers[hopsHeader.toLowerCase()] ?? 0);
  return Number.isInteger(hops) && hops > 0 ? hops : 0;
}

/** Sets our headers on a request, and takes away whatever its sender has put there under such names. */
export function stamp(request: IncomingMessage, stamped: Readonly<Record<string, string>>): void {
  const { headers, rawHeaders } = request;
  for (const name of Object.keys(headers)) if (name.startsWith(ours)) delete headers[name];
  const kept = filtered(rawHeaders, (name) => !name.startsWith(ours));
  for (const [name, value] of Object.entries(stamped)) {
    headers[name.toLowerCase()] = value;
    kept.push(name, value);
  }
  // In place: frameworks read it, too.
  rawHeaders.splice(0, rawHeaders.length, ...kept);
}

/** The headers that go on to the next hop. */
export function endToEnd(rawHeaders: readonly string[]): RawHeaders {
  const named = new Set(
    valuesOf(rawHeaders, "connection").flatMap((value) => value.toLowerCase().split(/\s*,\s*/)),
  );
  return filtered(rawHeaders, (name) => !hopByHop.has(name) && !named.has(name));
}

/** What a proxy says of the client whose request it passes on. */
export function forwardedFor(request: IncomingMessage): RawHeaders {
  const { socket, headers } = request;
  const before = headers["x-forwarded-for"];
  const chain = [...(before === undefined ? [] : [before].flat()), socket.remoteAddress ?? "unknown"];
  const proto = "encrypted" in socket ? "https" : "http";
  const kept = (name: string, value: string | undefined): RawHeaders =>
    headers[name.toLowerCase()] !== undefined || value === undefined ? [] : [name, value];
  return [
    ...["X-Forwarded-For", chain.join(", ")],
    ...kept("X-Forwarded-Proto", proto),
    ...kept("X-Forwarded-Host", headers.host),
  ];
}

/** Text of any kind as the value of a header. */
export function headerText(text: string): string {
  return text.replace(/[^\x21-\x7e]+/g, (odd) => encodeURIComponent(odd));
}

export function without(rawHeaders: readonly string[], ...names: readonly string[]): RawHeaders {
  return filtered(rawHeaders, (name) => !names.includes(name));
}

function filtered(rawHeaders: readonly string[], keep: (name: string) => boolean): RawHeaders {
  const kept: RawHeaders = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [name, value] = [rawHeaders[i] as string, rawHeaders[i + 1] as string];
    if (keep(name.toLowerCase())) kept.push(name, value);
  }
  return kept;
}

function valuesOf(rawHeaders: readonly string[], wanted: string): string[] {
  return filtered(rawHeaders, (name) => name === wanted).filter((_text, index) => index % 2 === 1);
}
