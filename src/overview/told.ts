import { toText } from "../etcd/bytes.ts";
import type { KeyValue } from "../etcd/gen/etcd_pb.ts";
import { parseDetails } from "../member/details.ts";

/** What a member tells about itself, read with care: a field of another type is as good as missing. */
export interface Told {
  /** The member's id; missing where it is no member of Succession that wrote this. */
  readonly id?: string;
  readonly address?: string;
  readonly zone?: string;
  readonly priority?: number;
  readonly version?: string;
  /** When the process came up, as an ISO date by its own clock. */
  readonly startedAt?: string;
  /** `false` for a witness, which stands in no line. */
  readonly candidate?: boolean;
  /** Whether the service is well, by its own check; missing where it has none. */
  readonly healthy?: boolean;
  /** Whether the leader is giving its term up by its own will. */
  readonly draining?: boolean;
}

const types: Readonly<Record<keyof Told, "string" | "number" | "boolean">> = {
  id: "string",
  address: "string",
  zone: "string",
  priority: "number",
  version: "string",
  startedAt: "string",
  candidate: "boolean",
  healthy: "boolean",
  draining: "boolean",
};

export function toldIn(kv: KeyValue): Told {
  const details: Readonly<Record<string, unknown>> = { ...parseDetails(toText(kv.value)) };
  const known = Object.entries(types).filter(([name, type]) => typeof details[name] === type);
  return Object.fromEntries(known.map(([name]) => [name, details[name]]));
}
