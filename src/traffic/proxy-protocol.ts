import { isIPv4, isIPv6 } from "node:net";

/** Both ends of a client's connection. */
export interface Ends {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
  readonly localAddress?: string | undefined;
  readonly localPort?: number | undefined;
}

const signature = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
/** Version 2, a connection on somebody's behalf. */
const proxied = 0x21;
const tcpOverIpv4 = 0x11;
const tcpOverIpv6 = 0x21;
const unspecified = 0x00;

/**
 * The header of the PROXY protocol, version 2, that goes before everything else on a connection: who the client is, and
 * where it connected to. https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt
 */
export function proxyHeader({ remoteAddress, remotePort, localAddress, localPort }: Ends): Buffer {
  const [from, to] = [addressBytes(remoteAddress), addressBytes(localAddress)];
  // A client that is gone already has no address.
  if (from === undefined || to === undefined || from.length !== to.length) return header(unspecified);
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(remotePort ?? 0, 0);
  ports.writeUInt16BE(localPort ?? 0, 2);
  return header(from.length === 4 ? tcpOverIpv4 : tcpOverIpv6, from, to, ports);
}

function header(family: number, ...parts: readonly Buffer[]): Buffer {
  const addresses = Buffer.concat(parts);
  const rest = Buffer.from([proxied, family, 0, 0]);
  rest.writeUInt16BE(addresses.length, 2);
  return Buffer.concat([signature, rest, addresses]);
}

function addressBytes(address: string | undefined): Buffer | undefined {
  if (address === undefined) return undefined;
  const [, v4 = address] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address) ?? [];
  if (isIPv4(v4)) return Buffer.from(v4.split(".").map(Number));
  const plain = address.replace(/%.*$/, "");
  return isIPv6(plain) ? ipv6Bytes(plain) : undefined;
}

function ipv6Bytes(address: string): Buffer {
  const groups = (text: string): number[] =>
    text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
  const [head = "", tail] = address.split("::");
  const [first, last] = [groups(head), groups(tail ?? "")];
  const all = [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}
