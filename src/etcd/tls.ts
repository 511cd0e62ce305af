import { createPrivateKey, X509Certificate } from "node:crypto";
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
  // One by one, for OpenSSL passes over what is no certificate, and does not say which of the three it dislikes.
  if (given.ca !== undefined) parsed("ca", ca, () => new X509Certificate(given.ca ?? ""));
  if (given.cert !== undefined) {
    const own = parsed("cert", cert, () => new X509Certificate(given.cert ?? ""));
    const secret = parsed("key", key, () => createPrivateKey(given.key ?? ""));
    if (!own.checkPrivateKey(secret)) throw badOption("tls.key", "the key of tls.cert", shown(key));
  }
  try {
    return createSecureContext(given);
  } catch (error) {
    throw badOption("tls", `usable by OpenSSL (${(error as Error).message})`, "what is not");
  }
}

type Field = "ca" | "cert" | "key";

/** What the PEM text holds, or `BAD_OPTION` naming the field: also for a file that is half written just now. */
function parsed<T>(field: Field, value: string | undefined, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const what = field === "key" ? "a private key in PEM" : "a certificate in PEM";
    const rule =
      code === "ERR_MISSING_PASSPHRASE"
        ? "a private key without a passphrase (this one is encrypted)"
        : `${what} (${message})`;
    throw badOption(`tls.${field}`, rule, shown(value));
  }
}

/** A path, to name the file; never the text of a key. */
function shown(value: string | undefined): string {
  return value !== undefined && isPath(value) ? value : "text";
}

function isPath(value: string): boolean {
  return value.length < 256 && !value.includes("\n") && !value.includes("-----BEGIN");
}

function pem<F extends Field>(field: F, value: string | undefined): { [K in F]?: string } {
  if (value === undefined) return {};
  // A buffer of the file's bytes serves as well: whoever used Node's own TLS has one at hand.
  if (typeof value !== "string" && !Buffer.isBuffer(value)) {
    throw badOption(`tls.${field}`, "a path or PEM text", value);
  }
  const text = (it: string): { [K in F]?: string } => ({ [field]: it }) as { [K in F]?: string };
  if (value.includes("-----BEGIN")) return text(value);
  if (!isPath(value)) throw badOption(`tls.${field}`, "a path or PEM text", shown(value));
  try {
    return text(readFileSync(value, "utf8"));
  } catch (error) {
    throw badOption(`tls.${field}`, `a readable file (${(error as NodeJS.ErrnoException).code})`, value);
  }
}
