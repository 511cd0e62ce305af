import { type Candidate, candidate } from "../concurrency/line.ts";
import { checkElection } from "../concurrency/naming.ts";
import { toText } from "../etcd/bytes.ts";
import { type CallOptions, Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { type KeyValue, KV } from "../etcd/gen/etcd_pb.ts";
import { byCreation, rangeOp } from "../etcd/ops.ts";
import { defaultMetaPrefix, detailsPrefix, type MemberDetails, parseDetails } from "../member/details.ts";
import { type Command, type Context, etcdFlags, timeoutFlag } from "./command.ts";
import { connectionOf } from "./connection.ts";
import { printable } from "./output.ts";
import { durationMsOf } from "./settings.ts";
import { table } from "./table.ts";
import { asUsage } from "./usage-error.ts";

export const status: Command = {
  name: "status",
  usage: ["status [ELECTION]"],
  about: [
    "Shows who leads an election and the line of succession: the candidates in the order in which they were created, the leader first. Address, zone and start time are shown for members of Succession that may store them.",
    "Without ELECTION it shows every election in which such a member stands. One whose candidates are etcdctl's or Go programs' alone is shown when it is named.",
  ],
  flags: { ...timeoutFlag, ...etcdFlags },
  examples: [
    ["status /merc", "who leads /merc, and who is next"],
    ["status --json | jq -r .leader.id", "the leader of each election, for scripts"],
    ["status /merc --endpoints https://10.0.0.1:2379 --cacert ca.pem", "in a cluster with TLS"],
  ],
  run: showStatus,
};

/** A candidate and what it tells of itself; the names of the JSON. */
interface Place {
  readonly id: string;
  readonly key: string;
  readonly token: bigint;
  readonly leaseId: string;
  readonly address?: string;
  readonly zone?: string;
  readonly since?: string;
}

interface ElectionStatus {
  readonly election: string;
  readonly leader: Place | null;
  readonly line: readonly Place[];
  readonly revision: bigint;
}

async function showStatus(context: Context): Promise<number> {
  const { arguments: args, env, output, stop, logger } = context;
  const election = args.positionals.length === 0 ? undefined : args.take(["ELECTION"])[0];
  if (election !== undefined) asUsage(() => checkElection(election));
  const timeoutMs = durationMsOf(args, "timeout", 5);
  const attemptTimeoutMs = Math.min(2_000, timeoutMs);
  const etcd = new Etcd({ ...connectionOf(args, env), logger, attemptTimeoutMs });
  const limits = { timeoutMs, signal: stop.signal };
  try {
    await etcd.ready(limits);
    const names = election === undefined ? await knownElections(etcd, limits) : [election];
    for (const [at, name] of names.entries()) {
      const found = await readStatus(etcd, name, limits, (message) =>
        output.say(`succession status: ${message}`),
      );
      if (args.has("json")) output.json(found);
      else output.print(`${at === 0 ? "" : "\n"}${asText(found)}`);
    }
    if (names.length === 0) {
      output.say(
        "no member of Succession stands in any election; succession status ELECTION shows one by name",
      );
    }
    return 0;
  } finally {
    await etcd.close();
  }
}

/** The elections in which a member stands that has stored its details. */
async function knownElections(etcd: Etcd, limits: CallOptions): Promise<readonly string[]> {
  const { kvs } = await etcd.range(defaultMetaPrefix, { prefix: true, keysOnly: true, ...limits });
  const names = kvs.flatMap((kv) => {
    const encoded = toText(kv.key).slice(defaultMetaPrefix.length).split("/")[0] ?? "";
    try {
      return encoded === "" ? [] : [decodeURIComponent(encoded)];
    } catch {
      // Somebody else's key.
      return [];
    }
  });
  return [...new Set(names)].sort();
}

async function readStatus(
  etcd: Etcd,
  election: string,
  limits: CallOptions,
  say: (message: string) => void,
): Promise<ElectionStatus> {
  const line = byCreation(`${election}/`);
  const options = { ...limits, idempotent: true };
  try {
    // Line and details of one revision.
    const request = { success: [rangeOp(line), rangeOp(byCreation(detailsPrefix(election)))] };
    const { response } = await etcd.call(KV.method.txn, request, options);
    const [candidates = [], details = []] = response.responses.map((each) =>
      each.response.case === "responseRange" ? each.response.value.kvs : [],
    );
    return statusOf(election, candidates, details, response.header?.revision ?? 0n);
  } catch (error) {
    if (!(error instanceof EtcdError) || error.code !== "PERMISSION_DENIED") throw error;
    const { response } = await etcd.call(KV.method.range, line, options);
    say(`no right to read members' details below ${detailsPrefix(election)}`);
    return statusOf(election, response.kvs, [], response.header?.revision ?? 0n);
  }
}

function statusOf(
  election: string,
  candidates: readonly KeyValue[],
  details: readonly KeyValue[],
  revision: bigint,
): ElectionStatus {
  const byLease = new Map(details.map((kv) => [kv.lease, parseDetails(toText(kv.value))]));
  const line = candidates.map((kv) => place(candidate(kv), byLease.get(kv.lease) ?? {}));
  return { election, leader: line[0] ?? null, line, revision };
}

function place({ id, key, token, leaseId }: Candidate, details: Partial<MemberDetails>): Place {
  const { address, zone, startedAt } = details;
  return {
    ...{ id, key, token, leaseId: BigInt.asUintN(64, leaseId).toString(16) },
    ...(typeof address === "string" ? { address } : {}),
    ...(typeof zone === "string" ? { zone } : {}),
    ...(typeof startedAt === "string" ? { since: startedAt } : {}),
  };
}

function asText({ election, leader, line }: ElectionStatus): string {
  const name = printable(election);
  if (leader === null) return `${name}: nobody leads, and nobody stands in line`;
  const rows = line.map(
    ({ id, token, leaseId, address = "-", zone = "-", since }, at) =>
      [
        at === 0 ? "leader" : `${at + 1}`,
        ...[id, `${token}`, leaseId, zone, address, since === undefined ? "-" : localTime(since)].map(
          printable,
        ),
      ] as const,
  );
  const head = ["", "ID", "TOKEN", "LEASE", "ZONE", "ADDRESS", "STARTED"];
  return `${name}: ${printable(leader.id)} leads, ${line.length - 1} in line behind\n${table([head, ...rows])}`;
}

function localTime(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : date.toLocaleString("sv-SE");
}
