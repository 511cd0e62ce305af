import { memberAddress } from "../member/address.ts";
import type { MemberDetails } from "../member/details.ts";

/** Where a member takes its traffic. */
export interface Address {
  readonly scheme: "http" | "https" | undefined;
  readonly host: string;
  readonly port: number;
}

/** Where requests to a member go, by its details or else its id; `undefined` where these name no port. */
export function trafficAddress(id: string, details: Partial<MemberDetails> = {}): Address | undefined {
  const { scheme, host = "", port } = memberAddress(id, details) ?? {};
  if (port === undefined) return undefined;
  return { scheme: scheme === "http" || scheme === "https" ? scheme : undefined, host, port };
}

/** As it stands in a URL. */
export function authority({ host, port }: Address): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}
