import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";

/** An answer that keeps somebody out. */
export interface Refusal {
  readonly status: 401 | 403;
  readonly reason: string;
}

/** Who may ask what over TCP, where anything on the machine can connect, a page in a browser among it. */
export class ApiAccess {
  readonly #host: string;
  readonly #token: Buffer | undefined;

  constructor(host: string, token: string | undefined) {
    this.#host = host.toLowerCase();
    this.#token = token === undefined ? undefined : digest(token);
  }

  /**
   * A page that has its own name point to this machine asks under that name. An address is nobody's name, so whoever
   * asks by address means this machine.
   */
  refuseHost({ headers }: IncomingMessage): Refusal | undefined {
    const name = hostnameOf(headers.host ?? "");
    if (name !== undefined && (isIP(name) !== 0 || name === "localhost" || name === this.#host))
      return undefined;
    return { status: 403, reason: "ask by this machine's address, localhost, or the name in --api" };
  }

  /** What changes something needs the token, which a foreign page does not know and may not send. */
  refuseChange({ headers }: IncomingMessage): Refusal | undefined {
    if (this.#token === undefined)
      return { status: 403, reason: "POST needs a token over TCP, and there is none: see --api-token-file" };
    const [, given] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
    // Of equal length, whatever was sent, and compared in a time that tells nothing.
    if (given !== undefined && timingSafeEqual(digest(given), this.#token)) return undefined;
    return { status: 401, reason: "POST needs the header Authorization: Bearer TOKEN" };
  }
}

/** The name in a `Host` header, without port and brackets. */
function hostnameOf(header: string): string | undefined {
  const [, v6, name] = /^(?:\[([0-9a-f:.]+)\]|([^[\]:/?#@\s]+))(?::\d{1,5})?$/i.exec(header) ?? [];
  return (v6 ?? name)?.toLowerCase();
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
