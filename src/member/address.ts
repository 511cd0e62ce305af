import { isIP, isIPv6 } from "node:net";
import type { MemberDetails } from "./details.ts";

/** Where a member is reached; without a port where only its machine is known. */
export interface MemberAddress {
  /** Of a URL, in small letters and without its colon. */
  readonly scheme: string | undefined;
  /** A name or an IP address, an IPv6 one without brackets. */
  readonly host: string;
  readonly port: number | undefined;
}

const schemePorts: ReadonlyMap<string, number> = new Map([
  ["http", 80],
  ["https", 443],
]);

/** Where clients reach a member: as its details say, else as its id does; `undefined` if neither names a host. */
export function memberAddress(id: string, details: Partial<MemberDetails> = {}): MemberAddress | undefined {
  const { address } = details;
  // An address that cannot be read must not be replaced by a guess.
  if (typeof address === "string" && address !== "") return parseAddress(address);
  return addressInId(id);
}

/** Reads `host`, `host:port`, `[::1]:port`, or the same as a URL. */
export function parseAddress(text: string): MemberAddress | undefined {
  const [, given, authority = ""] =
    /^(?:([a-z][a-z0-9+.-]*):\/\/)?([^/?#\s]*)(?:[/?#].*)?$/is.exec(text) ?? [];
  const scheme = given?.toLowerCase();
  const plain = isIPv6(authority) ? `[${authority}]` : authority;
  const [, v6, name, digits] = /^(?:\[([^\]]+)\]|([^:@[\]]+))(?::(\d{1,5}))?$/.exec(plain) ?? [];
  const host = v6 ?? name;
  if (host === undefined || !isHost(host, v6 !== undefined)) return undefined;
  const port = digits === undefined ? schemePorts.get(scheme ?? "") : Number(digits);
  return port === undefined || isPort(port) ? { scheme, host, port } : undefined;
}

/** An id is commonly `name:host:port`, or `host:port`. */
function addressInId(id: string): MemberAddress | undefined {
  const [, end] = /(?:^|:)((?:\[[^\]]+\]|[^:[\]]+):\d+)$/.exec(id) ?? [];
  return end === undefined || isIPv6(id) ? undefined : parseAddress(end);
}

/** A number alone, such as a process id, would be taken for an IPv4 address. */
function isHost(host: string, bracketed: boolean): boolean {
  if (bracketed) return isIPv6(host);
  return isIP(host) === 4 || (/^[\w.-]+$/.test(host) && !/^[\d.]+$/.test(host));
}

function isPort(port: number): boolean {
  return port >= 1 && port <= 65_535;
}
