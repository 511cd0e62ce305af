import { badOption } from "../errors.ts";

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
const forms = "host:port, http://host:port or https://host:port";

/**
 * Reads an endpoint as etcdctl takes it: `host:port`, `http://…`, `https://…`, `[::1]:2379`.
 * Without a scheme the connection is TLS if TLS files are given.
 */
export function parseEndpoint(text: string, tlsGiven: boolean): Endpoint {
  const field = "endpoints";
  if (typeof text !== "string" || text.trim() === "")
    throw badOption(field, `addresses such as ${forms}`, text);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== "http" && scheme !== "https") {
    throw badOption(field, `addresses such as ${forms}`, text);
  }
  const url = `http://${scheme === undefined ? text : text.slice(scheme.length + 3)}`;
  if (!URL.canParse(url)) throw badOption(field, `addresses such as ${forms}`, text);
  const { hostname, port, pathname, search, username, password } = new URL(url);
  if (username !== "" || password !== "") {
    throw badOption(
      field,
      "addresses without a user name (give user and password as options)",
      url.replace(/\/\/.*@/, "//…@"),
    );
  }
  if (hostname === "" || pathname !== "/" || search !== "")
    throw badOption(field, `addresses such as ${forms}`, text);
  // URL drops the port that is the scheme's default.
  const number = port !== "" ? Number(port) : /:80\/?$/.test(url) ? 80 : defaultPort;
  if (number < 1) throw badOption(field, "addresses with a port from 1 to 65535", text);
  return {
    name: `${hostname}:${number}`,
    host: hostname.replace(/^\[|\]$/g, ""),
    port: number,
    secure: scheme === undefined ? tlsGiven : scheme === "https",
  };
}

/** Reads a list of endpoints; one given twice counts once. */
export function parseEndpoints(list: readonly string[], tlsGiven: boolean): readonly Endpoint[] {
  if (!Array.isArray(list) || list.length === 0)
    throw badOption("endpoints", "a list of one address or more", list);
  const byName = new Map(list.map((text) => parseEndpoint(text, tlsGiven)).map((each) => [each.name, each]));
  return [...byName.values()];
}
