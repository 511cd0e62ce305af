import { attemptTimeoutMs } from "../../concurrency/deadline.ts";
import { type Finding, ok } from "./finding.ts";

/** Times in milliseconds, as measured over one endpoint. */
export interface EndpointTimes {
  readonly name: string;
  /** Of requests that the member answers by itself. */
  readonly roundTrips: readonly number[];
  /** Of grants of a lease, which a majority has on its disks when they are answered. */
  readonly commits: readonly number[];
  /** What the first grant that failed said. */
  readonly error?: string;
}

/** A raft election may take twice the election timeout before the first answer, as measured on etcd 3.4 and 3.5. */
const electionFactor = 2.1;
/** etcd's own default. */
const defaultElectionMs = 1_000;
/** A disk that needs more for one write has other work, or is slow. */
const slowCommitMs = 100;

/**
 * The least TTL, in whole seconds, that survives the loss of the raft leader: between two renewals, a third of a TTL apart,
 * there must be time for a raft election, and then for a request to a dead endpoint and to a living one.
 */
export function leastTtlSeconds(slowestMs: number, electionMs: number): number {
  const withoutAnswerMs = electionFactor * electionMs + 4 * slowestMs + 250;
  return Math.max(5, Math.ceil((1.5 * withoutAnswerMs) / 1_000));
}

/** etcd grants no TTL below one and a half election timeouts, in whole seconds; what it grants for 1 s tells them apart. */
export function electionMsOf(leastTtlGranted: number): number {
  return leastTtlGranted <= 2 ? defaultElectionMs : (leastTtlGranted / 1.5) * 1_000;
}

/** How fast the cluster answers, and whether the TTL suits it; `leastTtlGranted` is the shortest one that it grants. */
export function judgeTiming(
  times: readonly EndpointTimes[],
  ttlSeconds: number,
  leastTtlGranted: number,
): readonly Finding[] {
  const findings = times.flatMap(judgeEndpoint);
  const commits = times.flatMap((each) => each.commits);
  if (commits.length === 0) return findings;
  const slowestMs = Math.max(...commits);
  const least = leastTtlSeconds(slowestMs, electionMsOf(leastTtlGranted));
  const patienceMs = attemptTimeoutMs(ttlSeconds * 1_000);
  const check = "TTL";
  const measured = `the slowest of ${commits.length} commits took ${ms(slowestMs)}`;
  if (ttlSeconds < leastTtlGranted) {
    const what = `etcd grants no TTL below ${leastTtlGranted} s: its election timeout is long`;
    findings.push({ level: "warning", check, what, todo: `ask for ${leastTtlGranted} s or more` });
  }
  if (slowestMs > patienceMs) {
    const what = `${measured}; with a TTL of ${ttlSeconds} s an endpoint has ${ms(patienceMs)} to answer`;
    findings.push({
      level: "problem",
      check,
      what,
      todo: `use a TTL of ${least} s or more, or a faster etcd`,
    });
  } else if (ttlSeconds < least) {
    const what = `a TTL of ${ttlSeconds} s may not survive the loss of the raft leader here: ${measured}`;
    findings.push({ level: "warning", check, what, todo: `use ${least} s or more` });
  } else findings.push(ok(check, `${ttlSeconds} s suits this cluster, and ${least} s would: ${measured}`));
  return findings;
}

function judgeEndpoint({
  name,
  roundTrips,
  commits,
  error = "none was asked for",
}: EndpointTimes): Finding[] {
  const check = "latency";
  if (roundTrips.length === 0) return [];
  const median = medianOf(commits);
  const there = `${name}: round trip ${ms(medianOf(roundTrips))}`;
  if (commits.length === 0) {
    const todo = "see whether it has lost its way to the raft leader";
    return [{ level: "warning", check, what: `${there}, and no lease was granted: ${error}`, todo }];
  }
  const what = `${there}, commit ${ms(median)}, at most ${ms(Math.max(...commits))}`;
  if (median <= slowCommitMs) return [ok(check, what)];
  const todo = "give etcd a disk of its own (SSD); between distant places the round trips count too";
  return [{ level: "advice", check, what, todo }];
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

function ms(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}
