import { candidate } from "../../concurrency/line.ts";
import { candidateKey, metaFolder } from "../../concurrency/naming.ts";
import { toText } from "../../etcd/bytes.ts";
import type { CallOptions, Etcd } from "../../etcd/etcd.ts";
import { isPermissionDenied } from "../../etcd/failure.ts";
import { type KeyValue, KV } from "../../etcd/gen/etcd_pb.ts";
import { byCreation, kvsOf, rangeOp } from "../../etcd/ops.ts";
import { objectIn } from "../../json.ts";
import { detailsPrefix } from "../../member/details.ts";
import { handoverKey, pauseKey } from "../../steering/names.ts";
import { pauseIn, pauseText } from "../../steering/pause.ts";
import { requestIn } from "../../steering/request.ts";
import { type Finding, orOk, quoted, some } from "./finding.ts";

/** All keys of an election at one revision. */
export interface KeysSeen {
  readonly election: string;
  readonly revision: bigint;
  /** The leader first. */
  readonly line: readonly KeyValue[];
  /** What is kept about it beside the line; undefined where that may not be read. */
  readonly folder: readonly KeyValue[] | undefined;
}

/** Reads no more of what is kept beside the line: history is bounded, strangers are not. */
const mostKeys = 5_000;
const check = "leftovers";

/** Rejects as requests do, but for a refusal to read what is kept beside the line. */
export async function readKeys(etcd: Etcd, election: string, limits: CallOptions): Promise<KeysSeen> {
  const line = rangeOp(byCreation(`${election}/`));
  const folder = rangeOp(byCreation(metaFolder(election), mostKeys));
  const read = async (...success: (typeof line)[]) => {
    const { response } = await etcd.call(KV.method.txn, { success }, { ...limits, idempotent: true });
    const revision = response.header?.revision ?? 0n;
    return { revision, ranges: response.responses.map(kvsOf) };
  };
  try {
    const { revision, ranges } = await read(line, folder);
    return { election, revision, line: ranges[0] ?? [], folder: ranges[1] ?? [] };
  } catch (error) {
    if (!isPermissionDenied(error)) throw error;
    const { revision, ranges } = await read(line);
    return { election, revision, line: ranges[0] ?? [], folder: undefined };
  }
}

/** What stands there that nobody takes away, or that keeps the lead from passing. */
export function judgeLeftovers(keys: KeysSeen): readonly Finding[] {
  const { election, line, folder = [] } = keys;
  const findings = [...judgeLine(election, line), ...judgeDetails(keys), ...judgeSteering(keys)];
  const beside = keys.folder === undefined ? "" : `, ${folder.length} keys beside it`;
  return orOk(findings, check, `none in ${election}: ${line.length} in line${beside}`);
}

/** What of all that tells that the store went back to an older state, as after a restore from a backup. */
export function judgeStore({ election, revision, folder = [] }: KeysSeen): readonly Finding[] {
  const later = folder.filter((kv) => {
    const { token } = objectIn(toText(kv.value));
    return typeof token === "number" && Number.isSafeInteger(token) && BigInt(token) > revision;
  });
  const findings: Finding[] =
    later.length === 0
      ? []
      : [
          {
            ...{ level: "problem", check: "store" },
            what: `${election}: there are tokens above the store's revision, ${revision}: ${some(later.map(nameOf))}; it was restored from a backup, and tokens grow no more`,
            todo: "restore with etcdutl snapshot restore --bump-revision N --mark-compacted, or make what checks tokens forget the old ones",
          },
        ];
  return orOk(findings, "store", `${election}: no token is above the store's revision, ${revision}`);
}

function judgeLine(election: string, line: readonly KeyValue[]): Finding[] {
  const findings: Finding[] = [];
  const bare = line.filter(({ lease }) => lease === 0n);
  const leading = line[0];
  if (leading !== undefined && leading.lease === 0n) {
    const what = `the leader of ${election}, ${nameOf(leading)}, has no lease: it leads for ever, alive or not`;
    findings.push({ level: "problem", check, what, todo: deletion(leading) });
  }
  const others = bare.filter((kv) => kv !== leading);
  if (others.length > 0) {
    const what = `candidates of ${election} without a lease never go away, alive or not: ${some(others.map(nameOf))}`;
    findings.push({ level: "warning", check, what, todo: deletion(others[0] as KeyValue) });
  }
  const strange = line.filter((kv) => kv.lease !== 0n && nameOf(kv) !== candidateKey(election, kv.lease));
  if (strange.length > 0) {
    const what = `below ${election}/ stands what is named like no candidate, and is one to everybody: ${some(strange.map(nameOf))}`;
    findings.push({ level: "warning", check, what, todo: "let whoever puts it choose another place" });
  }
  return findings;
}

function judgeDetails({ election, line, folder = [] }: KeysSeen): Finding[] {
  const standing = new Set(line.map(({ lease }) => lease));
  const details = folder.filter((kv) => nameOf(kv).startsWith(detailsPrefix(election)));
  const bare = details.filter(({ lease }) => lease === 0n);
  const idle = details.filter((kv) => kv.lease !== 0n && !standing.has(kv.lease) && !isWitness(kv));
  const findings: Finding[] = [];
  if (bare.length > 0) {
    const what = `details in ${election} without a lease stay for ever: ${some(bare.map(nameOf))}`;
    findings.push({ level: "advice", check, what, todo: deletion(bare[0] as KeyValue) });
  }
  if (idle.length > 0) {
    const ids = idle.map((kv) => idIn(kv));
    const what = `members of ${election} that have a lease and no place in line: ${some(ids)}`;
    const todo = "one that is joining or unwell looks so; look again, and at its log";
    findings.push({ level: "advice", check, what, todo });
  }
  return findings;
}

function judgeSteering({ election, line, folder = [] }: KeysSeen): Finding[] {
  const findings: Finding[] = [];
  const pause = folder.find((kv) => nameOf(kv) === pauseKey(election));
  const asked = folder.find((kv) => nameOf(kv) === handoverKey(election));
  if (pause !== undefined) {
    const lasts = pause.lease === 0n ? ", and until it is resumed" : "";
    const what = `changes of leader in ${election} are paused: ${pauseText(pauseIn(pause))}${lasts}`;
    findings.push({ level: "advice", check, what, todo: `succession resume ${quoted(election)}` });
  }
  const leader = line[0] === undefined ? undefined : candidate(line[0]);
  const request = asked === undefined ? undefined : requestIn(asked);
  if (asked !== undefined && request !== undefined && request.token !== leader?.token) {
    const what = `a request for a handover in ${election} means term ${request.token}, which is over: nobody acts on it`;
    const todo = asked.lease === 0n ? deletion(asked) : "it goes away by itself";
    findings.push({ level: "advice", check, what, todo });
  }
  return findings;
}

function nameOf(kv: KeyValue): string {
  return toText(kv.key);
}

function idIn(kv: KeyValue): string {
  const { id } = objectIn(toText(kv.value));
  return typeof id === "string" ? id : nameOf(kv);
}

function isWitness(kv: KeyValue): boolean {
  const { candidate: stands } = objectIn(toText(kv.value));
  return stands === false;
}

function deletion(kv: KeyValue): string {
  return `if it is nobody's any more: etcdctl del ${quoted(nameOf(kv))}`;
}
