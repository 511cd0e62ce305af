import { badOption, type SuccessionError } from "../errors.ts";

/** One etcd member's client address. */
export interface Endpoint {
  /** As logs and errors show it: `host:port`. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Whether the connection is TLS. */
  readonly secure: boolean;
}

const defaultPort = 2379;
const field = "endpoints";
const forms = "host:port, http://host:port or https://host:port";

/**
 * Reads an endpoint as etcdctl takes it: `host:port`, `http://…`, `https://…`, `[::1]:2379`.
 * Without a scheme the connection is TLS if TLS files are given.
 */
export function parseEndpoint(text: string, tlsGiven: boolean): Endpoint {
  if (typeof text !== "string" || text.trim() === "") throw unusable(text);
  const [, scheme = "", address = ""] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(text.trim()) ?? [];
  const url = `http://${address}`;
  if (address.includes("@")) {
    const rule = "addresses without a user name (give user and password as options)";
    throw badOption(field, rule, withoutUser(text));
  }
  if (!["", "http", "https"].includes(scheme.toLowerCase()) || !URL.canParse(url)) throw unusable(text);
  const { hostname, port, pathname, search, hash } = new URL(url);
  // A port alone would be read as an IPv4 address written as one number.
  const hostMissing = hostname === "" || /^\d+$/.test(address);
  if (hostMissing || pathname !== "/" || search !== "" || hash !== "") throw unusable(text);
  // URL drops the port that is the scheme's default.
  const number = port !== "" ? Number(port) : /:0*80\/?$/.test(url) ? 80 : defaultPort;
  if (number < 1) throw badOption(field, "addresses with a port from 1 to 65535", text);
  return {
    name: `${hostname}:${number}`,
    host: hostname.replace(/^\[|\]$/g, ""),
    port: number,
    secure: scheme === "" ? tlsGiven : scheme.toLowerCase() === "https",
  };
}

/** Reads a list of endpoints; one given twice counts once. */
export function parseEndpoints(list: readonly string[], tlsGiven: boolean): readonly Endpoint[] {
  if (!Array.isArray(list)) throw badOption(field, "a list of addresses", list);
  if (list.length === 0) throw badOption(field, "a list of one address or more", "an empty list");
  const byName = new Map<string, Endpoint>();
  for (const text of list) {
    const endpoint = parseEndpoint(text, tlsGiven);
    const same = byName.get(endpoint.name);
    if (same !== undefined && same.secure !== endpoint.secure) {
      throw badOption(field, "addresses each with TLS or each without", `${endpoint.name} with both`);
    }
    byName.set(endpoint.name, endpoint);
  }
  return [...byName.values()];
}

function unusable(text: unknown): SuccessionError {
  const shown = typeof text === "string" ? withoutUser(text) : text;
  return badOption(field, `addresses such as ${forms}`, shown);
}

/** What stands before the last `@` may be a password. */
function withoutUser(text: string): string {
  return text.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, "$1…@");
}
