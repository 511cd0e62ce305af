import { metaFolder } from "../../concurrency/naming.ts";
import { prefixEnd, toText } from "../../etcd/bytes.ts";
import type { CallOptions, Etcd } from "../../etcd/etcd.ts";
import { isPermissionDenied } from "../../etcd/failure.ts";
import { KV } from "../../etcd/gen/etcd_pb.ts";
import { created, putOp } from "../../etcd/ops.ts";
import { type Finding, ok, quoted } from "./finding.ts";

/** What the user may do with all keys that begin with this. */
export interface RightsSeen {
  readonly prefix: string;
  readonly read: boolean;
  readonly write: boolean;
}

export interface ElectionRights {
  readonly election: string;
  readonly line: RightsSeen;
  readonly folder: RightsSeen;
}

/** No key was ever created at this revision, so what depends on it is never done; but etcd looks whether it may be. */
const never = 2n ** 63n - 1n;

/** Asks etcd without changing anything. Rejects as requests do, but for a refusal. */
export async function readRights(etcd: Etcd, election: string, limits: CallOptions): Promise<ElectionRights> {
  const [line, folder] = await Promise.all(
    [`${election}/`, metaFolder(election)].map(async (prefix): Promise<RightsSeen> => {
      const read = await allowed(etcd.range(prefix, { prefix: true, countOnly: true, ...limits }));
      const key = `${prefix}0`;
      const put = { compare: [created(key, never)], success: [putOp(key, "")] };
      const write = await allowed(etcd.call(KV.method.txn, put, { ...limits, idempotent: true }));
      return { prefix, read, write };
    }),
  );
  return { election, line: line as RightsSeen, folder: folder as RightsSeen };
}

async function allowed(asked: Promise<unknown>): Promise<boolean> {
  try {
    await asked;
    return true;
  } catch (error) {
    if (isPermissionDenied(error)) return false;
    throw error;
  }
}

/** Whether a member could stand with these rights. */
export function judgeRights({ election, line, folder }: ElectionRights): readonly Finding[] {
  const check = "rights";
  const grant = (prefix: string): string =>
    `etcdctl role grant-permission ROLE readwrite ${quoted(prefix)} ${quoted(toText(prefixEnd(prefix)))}`;
  const findings: Finding[] = [];
  if (!line.read) {
    const what = `the user may not read [${line.prefix}, ${toText(prefixEnd(line.prefix))})`;
    findings.push({ level: "problem", check, what, todo: grant(line.prefix) });
  } else if (!line.write) {
    const what = `the user may observe ${election}, and not stand in it: no right to write below ${line.prefix}`;
    findings.push({ level: "problem", check, what, todo: grant(line.prefix) });
  }
  if (!folder.read || !folder.write) {
    const what = `without readwrite below ${folder.prefix} members show no address, cannot be steered, and leave no history`;
    findings.push({ level: "warning", check, what, todo: grant(folder.prefix) });
  }
  return findings.length > 0 ? findings : [ok(check, `enough to stand in ${election} and to steer it`)];
}
