import { defaultMetaPrefix } from "../concurrency/naming.ts";
import { toText } from "../etcd/bytes.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { namingTheRange } from "./options.ts";

export interface ListOptions extends CallOptions {
  /** Where everything about elections is kept that is not a candidate. @defaultValue "_succession/v1/" */
  readonly metaPrefix?: string;
}

/**
 * The elections in which a member stands that has stored its details, sorted: one whose candidates are all Go programs or
 * etcdctl's is known to those alone who know its name. Rejects as requests to etcd do.
 */
export async function listElections(etcd: Etcd, options: ListOptions = {}): Promise<readonly string[]> {
  const { metaPrefix = defaultMetaPrefix, ...limits } = options;
  try {
    const { kvs } = await etcd.range(metaPrefix, { prefix: true, keysOnly: true, ...limits });
    return [...new Set(kvs.flatMap((kv) => electionIn(toText(kv.key).slice(metaPrefix.length))))].sort();
  } catch (error) {
    throw namingTheRange(error, metaPrefix);
  }
}

/** The election that a key of a member's details is about. */
function electionIn(key: string): readonly string[] {
  const [encoded = "", folder] = key.split("/");
  if (encoded === "" || folder !== "members") return [];
  try {
    return [decodeURIComponent(encoded)];
  } catch {
    // Somebody else's key.
    return [];
  }
}
