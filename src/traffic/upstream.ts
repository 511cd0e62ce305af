import { Agent, type ClientRequest, type IncomingMessage, request as overHttp } from "node:http";
import { request as overHttps, Agent as SecureAgent } from "node:https";
import type { Socket } from "node:net";
import { systemClock } from "../clock.ts";
import { authority } from "./address.ts";
import type { Onward } from "./exchange.ts";
import { endToEnd, forwardedFor, type RawHeaders, without } from "./headers.ts";

/** How long a connection to a member may take. */
const connectMs = 2_000;

/**
 * Connections that are used again serve only what may be repeated: the other side may close one at the moment at which a
 * request is sent on it.
 */
const pooled = {
  http: new Agent({ keepAlive: true, maxFreeSockets: 64, timeout: 4_000 }),
  https: new SecureAgent({ keepAlive: true, maxFreeSockets: 64, timeout: 4_000 }),
};

/** Whether a request can be sent again without anybody telling the difference: it asks, and has no body. */
export function repeatable(request: IncomingMessage): boolean {
  return ["GET", "HEAD", "OPTIONS"].includes(request.method ?? "") && !hasBody(request);
}

export function hasBody({ headers }: IncomingMessage): boolean {
  if (headers["transfer-encoding"] !== undefined) return true;
  return Number(headers["content-length"] ?? 0) > 0;
}

/** A request to the leader; `upgrade` keeps what asks for another protocol. The caller sends the body. */
export function openUpstream(incoming: IncomingMessage, onward: Onward, upgrade?: string): ClientRequest {
  const { address } = onward;
  const scheme = address.scheme ?? "http";
  return (scheme === "https" ? overHttps : overHttp)({
    ...{
      host: address.host,
      port: address.port,
      method: incoming.method,
      path: incoming.url,
      setHost: false,
    },
    headers: headersTo(incoming, onward, upgrade),
    agent: upgrade === undefined && repeatable(incoming) ? pooled[scheme] : false,
    // The name on the certificate is that of the member, not the one that the client asked for.
    ...(scheme === "https" ? { servername: isName(address.host) ? address.host : "" } : {}),
  });
}

/** Calls `connected` once bytes can go out, and ends the attempt if that takes too long. */
export function whenConnected(outgoing: ClientRequest, connected: () => void): void {
  const limit = systemClock.now() + connectMs;
  const cancel = systemClock.at(limit, () =>
    outgoing.destroy(new Error(`no connection within ${connectMs} ms`)),
  );
  outgoing.once("close", cancel);
  const ready = (): void => {
    cancel();
    if (!outgoing.destroyed) connected();
  };
  outgoing.once("socket", (socket: Socket) => {
    const secure = "encrypted" in socket;
    if (!socket.connecting && (!secure || outgoing.reusedSocket)) ready();
    else socket.once(secure ? "secureConnect" : "connect", ready);
  });
}

function headersTo(incoming: IncomingMessage, { address }: Onward, upgrade?: string): RawHeaders {
  const { rawHeaders, headers } = incoming;
  const own = without(endToEnd(rawHeaders), "x-forwarded-for", "host", "content-length");
  const length = headers["content-length"];
  const chunked = headers["transfer-encoding"] !== undefined;
  const bodiless = ["GET", "HEAD", "OPTIONS", "DELETE"].includes(incoming.method ?? "");
  return [
    ...["Host", headers.host ?? authority(address)],
    ...own,
    ...forwardedFor(incoming),
    ...(upgrade === undefined ? [] : ["Connection", "Upgrade", "Upgrade", upgrade]),
    // Node.js would announce a body that does not come.
    ...(chunked ? ["Transfer-Encoding", "chunked"] : []),
    ...(!chunked && length !== undefined ? ["Content-Length", length] : []),
    ...(!chunked && length === undefined && !bodiless ? ["Content-Length", "0"] : []),
  ];
}

function isName(host: string): boolean {
  return !host.includes(":") && !/^[\d.]+$/.test(host);
}
