import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";

/** Why a request is not answered. */
export interface Denial {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  /** With `REFUSED`: which of the reasons. */
  readonly refusal?: string;
}

/**
 * Whether the request names a host that is ours. Somebody else's name that was made to point here would let his page read
 * ours in a visitor's browser. An address is nobody's name: whoever asks by one means this machine.
 */
export function hostDenial(host: string | undefined, hosts: ReadonlySet<string>): Denial | undefined {
  const [, v6, given] = /^(?:\[([0-9a-f:.]+)\]|([^[\]:/?#@\s]+))(?::\d{1,5})?$/i.exec(host ?? "") ?? [];
  const name = (v6 ?? given)?.toLowerCase().replace(/\.$/, "");
  if (name !== undefined && (isIP(name) !== 0 || hosts.has(name))) return undefined;
  const message = `the host ${JSON.stringify(host ?? "")} is not one of this dashboard's; if it should be, start it with --allow-host`;
  return { status: 403, code: "FOREIGN_HOST", message };
}

/**
 * Whether another site's page sent the request: browsers say so, and do not let pages lie. What is no browser says nothing,
 * and has no visitor to abuse.
 */
export function originDenial(headers: IncomingHttpHeaders): Denial | undefined {
  const { "sec-fetch-site": site, origin, host } = headers;
  const sameSite = site === undefined || site === "same-origin" || site === "none";
  // The scheme may differ: a proxy in front speaks TLS.
  const sameOrigin =
    origin === undefined || (URL.canParse(origin) && new URL(origin).host === host?.toLowerCase());
  if (sameSite && sameOrigin) return undefined;
  return {
    ...{ status: 403, code: "FOREIGN_ORIGIN" },
    message: "only this dashboard's own page may ask for that; a proxy in front must pass the Host header on",
  };
}

/** Whether a command has the token. Takes the same time for every wrong one. */
export function tokenDenial(headers: IncomingHttpHeaders, token: string | undefined): Denial | undefined {
  if (token === undefined) {
    const message = "this dashboard is read-only; start it with --token-file to steer from it";
    return { status: 403, code: "READ_ONLY", message };
  }
  const [, given = ""] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
  if (timingSafeEqual(digest(given), digest(token))) return undefined;
  const message = "the header Authorization: Bearer TOKEN is missing or holds another token";
  return { status: 401, code: "WRONG_TOKEN", message };
}

/** Of one length whatever was given. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
