import { type Finding, ok, some } from "./finding.ts";

/** What an endpoint says of itself. */
export interface EndpointStatus {
  readonly version: string;
  readonly memberId: bigint;
  readonly clusterId: bigint;
  /** The raft leader's id; 0 for none. */
  readonly leader: bigint;
  readonly raftTerm: bigint;
  readonly raftIndex: bigint;
  readonly raftAppliedIndex: bigint;
  readonly isLearner: boolean;
  readonly dbSizeBytes: bigint;
  readonly errors: readonly string[];
}

export interface EndpointSeen {
  readonly name: string;
  /** Why there is no status. */
  readonly error?: string;
  readonly status?: EndpointStatus;
}

/** A member of the cluster, by the cluster's own list. */
export interface MemberSeen {
  readonly id: bigint;
  readonly name: string;
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

const check = "endpoints";
/** Entries that a member may be behind without being slow. */
const mostBehind = 1_000n;
/** Where a quota of 2 GiB, the default, is nearly used up. */
const largeBytes = 1_600n * 1_024n * 1_024n;

/** Whether the endpoints serve, and are one cluster that can lose a member. `members` is undefined where it is not told. */
export function judgeEndpoints(
  seen: readonly EndpointSeen[],
  members: readonly MemberSeen[] | undefined,
): readonly Finding[] {
  const answering = seen.filter(({ status }) => status !== undefined);
  const findings = [...silent(seen, answering), ...oneCluster(answering), ...answering.flatMap(each)];
  if (members !== undefined) findings.push(...cluster(seen, answering, members));
  const said = `${answering.length} of ${seen.length} answer`;
  const leader = answering.find(({ status }) => status?.leader === status?.memberId)?.name;
  const whole = leader === undefined ? said : `${said}; the raft leader is ${leader}`;
  return findings.some(({ level }) => level === "problem") ? findings : [ok(check, whole), ...findings];
}

function silent(seen: readonly EndpointSeen[], answering: readonly EndpointSeen[]): Finding[] {
  // While another one serves, members lose nothing but the choice.
  const level = answering.some(({ status }) => status?.leader !== 0n) ? "warning" : "problem";
  return seen.flatMap(({ name, error }): Finding[] =>
    error === undefined
      ? []
      : [
          {
            ...{ level, check, what: `${name} does not serve: ${error}` },
            todo: remedyFor(error),
          },
        ],
  );
}

function remedyFor(error: string): string {
  if (/certificate|TLS/.test(error))
    return "see --cacert, --cert and --key, and whether it speaks http or https";
  if (/authentication|user name/.test(error)) return "see --user and its password";
  return "see whether etcd runs there, and whether a firewall is in the way";
}

function oneCluster(answering: readonly EndpointSeen[]): Finding[] {
  const ids = new Set(answering.map(({ status }) => status?.clusterId));
  if (ids.size < 2) return [];
  const named = answering.map(({ name, status }) => `${name} of ${status?.clusterId.toString(16)}`);
  return [
    {
      ...{ level: "problem", check, what: `the endpoints are of different clusters: ${some(named)}` },
      todo: "give the endpoints of one cluster only: each would have a leader of its own",
    },
  ];
}

function each({ name, status }: EndpointSeen): Finding[] {
  if (status === undefined) return [];
  const findings: Finding[] = [];
  const { leader, isLearner, raftIndex, raftAppliedIndex, dbSizeBytes } = status;
  if (leader === 0n) {
    const what = `${name} has no raft leader`;
    const todo =
      "the cluster has lost its majority, or this member its way to the others: start what is missing";
    findings.push({ level: "problem", check, what, todo });
  }
  if (isLearner) {
    const what = `${name} is a learner, which serves no elections`;
    findings.push({ level: "warning", check, what, todo: "take it off the list, or promote it" });
  }
  if (raftIndex - raftAppliedIndex > mostBehind) {
    const what = `${name} has yet to apply ${raftIndex - raftAppliedIndex} entries`;
    findings.push({
      level: "warning",
      check,
      what,
      todo: "look at its disk and processor: it is overloaded",
    });
  }
  if (dbSizeBytes > largeBytes) {
    const what = `${name} has a database of ${dbSizeBytes / 1_048_576n} MiB`;
    const todo =
      "compact and defragment before the quota (2 GiB by default) is used up: then nobody can join";
    findings.push({ level: "warning", check, what, todo });
  }
  return findings;
}

function cluster(
  seen: readonly EndpointSeen[],
  answering: readonly EndpointSeen[],
  members: readonly MemberSeen[],
): Finding[] {
  const findings: Finding[] = [];
  const voters = members.filter(({ isLearner }) => !isLearner);
  const known = new Set(answering.map(({ status }) => status?.memberId));
  const missing = voters.filter(({ id }) => !known.has(id));
  const allAnswer = answering.length === seen.length;
  const up = voters.length - missing.length;
  if (up * 2 <= voters.length && seen.length >= voters.length) {
    const what = `${up} of ${voters.length} voting members answer: seen from here that is no majority`;
    const todo = "start the others, or mend the way to them: without a majority nothing is written";
    findings.push({ level: "warning", check, what, todo });
  }
  if (voters.length === 1) {
    const todo = "three members in three places survive the loss of any one";
    findings.push({ level: "advice", check, what: "the cluster is one member: its loss is an outage", todo });
  } else if (voters.length % 2 === 0) {
    const what = `the cluster has ${voters.length} voting members, and survives no more losses than with one less`;
    findings.push({ level: "advice", check, what, todo: "use an odd number" });
  }
  if (missing.length > 0 && allAnswer) {
    const named = missing.map(({ name, clientUrls }) => `${name} (${clientUrls.join(" ")})`);
    const what = `the cluster has members that no endpoint here is for: ${some(named)}`;
    const todo = "name them in --endpoints too, so that there is somewhere to go when one is lost";
    findings.push({ level: "advice", check, what, todo });
  }
  return findings;
}
