import { isIP, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import type { Candidate } from "../concurrency/line.ts";
import { badOption } from "../errors.ts";
import { memberAddress, parseAddress } from "../member/address.ts";
import type { MemberDetails } from "../member/details.ts";

/** Where a connection leads. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** As people write it: `host:port`. */
  readonly name: string;
}

/** Where a leader's service is by the template; `undefined` where what is known of the leader does not tell. */
export function targetOf(
  template: string,
  { id }: Pick<Candidate, "id">,
  details: Partial<MemberDetails> | undefined,
): Target | undefined {
  const known = memberAddress(id, details);
  if (known?.host === undefined && template.includes("{host}")) return undefined;
  if (known?.port === undefined && template.includes("{port}")) return undefined;
  return filled(template, { host: known?.host ?? "", port: String(known?.port ?? ""), id });
}

/** Throws `BAD_OPTION` unless the template can become `host:port`. */
export function checkTemplate(template: string): void {
  const usable =
    typeof template === "string" &&
    !/\{(?!(host|port|id)\})/.test(template) &&
    filled(template, { host: "host", port: "1", id: "id" }) !== undefined;
  if (!usable) throw badOption("target", "a template such as {host}:8080", template);
}

function filled(
  template: string,
  values: { readonly host: string; readonly port: string; readonly id: string },
): Target | undefined {
  const { host, port, id } = values;
  const text = template
    .replaceAll("{host}", bracketed(host))
    .replaceAll("{port}", () => port)
    .replaceAll("{id}", () => id);
  const address = parseAddress(text);
  if (address?.port === undefined) return undefined;
  return { host: address.host, port: address.port, name: `${bracketed(address.host)}:${address.port}` };
}

function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

/** Whether a connection to this IP address and port would come back to who listens on `own`. */
export function leadsBack(
  ip: string,
  port: number,
  own: { readonly address: string; readonly port: number },
): boolean {
  if (port !== own.port) return false;
  const to = canonical(ip);
  const at = canonical(own.address);
  // Connecting to the address of no machine in particular leads to this one.
  const here = isUnspecified(to) || isLoopback(to) || ownAddresses().has(to);
  if (isUnspecified(at)) return here;
  return to === at || (isUnspecified(to) && isLoopback(at));
}

/** An IPv4 address in IPv6 clothes is the same. */
function canonical(ip: string): string {
  const plain = ip.replace(/%.*$/, "").toLowerCase();
  const [, v4] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain) ?? [];
  return v4 ?? plain;
}

const isUnspecified = (ip: string): boolean => ip === "0.0.0.0" || ip === "::";
const isLoopback = (ip: string): boolean => ip === "::1" || (isIP(ip) === 4 && ip.startsWith("127."));

function ownAddresses(): ReadonlySet<string> {
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return new Set(all.map(({ address }) => canonical(address)));
}
