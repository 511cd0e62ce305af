import { type Finding, orOk, some } from "./finding.ts";

/** A release as three numbers. */
type Release = readonly [major: number, minor: number, patch: number];

interface Fault {
  readonly level: "advice" | "warning" | "problem";
  readonly has: (release: Release) => boolean;
  readonly what: string;
  readonly todo: string;
}

/** Whether a release is below the one in its line that mended something; lines that are not named never had it. */
const before =
  (...mended: readonly Release[]) =>
  ([major, minor, patch]: Release): boolean =>
    mended.some((each) => each[0] === major && each[1] === minor && patch < each[2]);

/** What is known of releases, as far as it concerns elections. Sources: etcd's change logs and issues. */
const faults: readonly Fault[] = [
  {
    level: "problem",
    has: ([major, minor]) => major < 3 || (major === 3 && minor < 4),
    what: "older than 3.4, which Succession is made for",
    todo: "update etcd",
  },
  {
    level: "problem",
    has: before([3, 5, 3]),
    what: "after a crash its members may hold different data, and so different leaders (etcd's notice on 3.5.0 to 3.5.2)",
    todo: "update to the newest 3.5",
  },
  {
    level: "warning",
    has: before([3, 4, 31], [3, 5, 13]),
    what: "a raft leader that stalls, as on a slow disk, ends leases that were renewed elsewhere (etcd#15247)",
    todo: "update etcd; where two leaders for a moment are too many, set takeoverDelayMs, and check tokens",
  },
  {
    level: "warning",
    has: before([3, 4, 31], [3, 5, 13]),
    what: "watches may fall minutes behind on a shared stream, and lose events to a compaction (etcd#17529)",
    todo: "update etcd: members find a deaf watch by themselves, a TTL later at worst",
  },
  {
    level: "advice",
    has: before([3, 4, 25], [3, 5, 8]),
    what: "large reads over one TLS connection starve its watches (etcd#15402)",
    todo: "update etcd, or let nobody read much over an election's client",
  },
  {
    level: "advice",
    has: ([major, minor, patch]) => major === 3 && minor === 5 && patch >= 13 && patch <= 16,
    what: "a raft leader that was stopped for seconds may still end leases that were renewed elsewhere, seen with 3.5.16",
    todo: "where two leaders for a moment are too many, set takeoverDelayMs, and check tokens",
  },
  {
    level: "advice",
    has: before([3, 4, 42], [3, 5, 28], [3, 6, 9]),
    what: "anybody who reaches it may renew any lease, without a token (GHSA-q8m4-xhhv-38mg)",
    todo: "update etcd",
  },
];

/** What is known of the releases that run. */
export function judgeVersions(
  running: readonly { readonly name: string; readonly version: string }[],
): readonly Finding[] {
  const check = "versions";
  const versions = [...new Set(running.map(({ version }) => version))].sort();
  const findings: Finding[] = [];
  for (const { level, has, what, todo } of faults) {
    const hit = versions.filter((version) => {
      const release = releaseOf(version);
      return release !== undefined && has(release);
    });
    if (hit.length > 0) findings.push({ level, check, what: `etcd ${some(hit)}: ${what}`, todo });
  }
  const unknown = versions.filter((version) => releaseOf(version) === undefined);
  if (unknown.length > 0) {
    const todo = "for real use etcd 3.4 or later";
    findings.push({
      level: "advice",
      check,
      what: `what runs is no release of etcd: ${some(unknown)}`,
      todo,
    });
  }
  if (versions.length > 1) {
    const what = `members of different releases: ${running.map(({ name, version }) => `${name} ${version}`).join(", ")}`;
    findings.push({ level: "advice", check, what, todo: "finish the update" });
  }
  return orOk(findings, check, `etcd ${some(versions)}: no known fault that matters to elections`);
}

/** `undefined` for what is not etcd's own, such as the development server. */
function releaseOf(version: string): Release | undefined {
  const [, major, minor, patch] = /^(\d+)\.(\d+)\.(\d+)(?:-(?:alpha|beta|rc)\.\d+)?$/.exec(version) ?? [];
  return patch === undefined ? undefined : [Number(major), Number(minor), Number(patch)];
}
