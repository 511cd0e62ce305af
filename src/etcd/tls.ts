import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP, type Socket } from "node:net";
import { connect, createSecureContext, type SecureContext } from "node:tls";
import { badOption } from "../errors.ts";

/** Each is a PEM text, or the path of a file that holds one; files are read again at every new connection. */
export interface TlsOptions {
  /** Certificates of the authorities to trust. @defaultValue those that come with Node.js */
  readonly ca?: string;
  /** This client's certificate, for mutual TLS; goes with `key`. */
  readonly cert?: string;
  /** The private key of `cert`. */
  readonly key?: string;
}

/** Opens TLS to `host` over a TCP connection, with the files as they are at that moment. */
export function tlsOver(host: string, options: TlsOptions): (socket: Socket) => Promise<Socket> {
  return (socket) =>
    new Promise((resolve, reject) => {
      const named = isIP(host) === 0 ? { servername: host } : {};
      const secured = connect({
        socket,
        host,
        ...named,
        secureContext: secureContext(options),
        ALPNProtocols: ["h2"],
      });
      secured.once("secureConnect", () => resolve(secured));
      secured.once("error", reject);
      secured.once("close", () => reject(new Error("connection closed during the TLS handshake")));
    });
}

/** Throws `BAD_OPTION` naming the file that cannot be used. */
export function secureContext(options: TlsOptions): SecureContext {
  const { ca, cert, key } = options;
  if ((cert === undefined) !== (key === undefined)) {
    throw badOption(
      "tls.cert and tls.key",
      "given together",
      cert === undefined ? "tls.key alone" : "tls.cert alone",
    );
  }
  const given = { ...pem("ca", ca), ...pem("cert", cert), ...pem("key", key) };
  try {
    // OpenSSL passes over what is no certificate, and then trusts nobody.
    if (given.ca !== undefined) new X509Certificate(given.ca);
    return createSecureContext(given);
  } catch (error) {
    throw badOption(
      "tls",
      `PEM certificates and a matching key (${(error as Error).message})`,
      "unusable ones",
    );
  }
}

function pem<F extends "ca" | "cert" | "key">(field: F, value: string | undefined): { [K in F]?: string } {
  if (value === undefined) return {};
  const text = (it: string): { [K in F]?: string } => ({ [field]: it }) as { [K in F]?: string };
  if (value.includes("-----BEGIN")) return text(value);
  try {
    return text(readFileSync(value, "utf8"));
  } catch (error) {
    throw badOption(`tls.${field}`, `a readable file (${(error as NodeJS.ErrnoException).code})`, value);
  }
}
