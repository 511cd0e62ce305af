import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { judgeAlarms } from "../../src/cli/doctor/alarms.ts";
import { clockRate, judgeClockRate } from "../../src/cli/doctor/clock-rate.ts";
import { type EndpointStatus, judgeEndpoints } from "../../src/cli/doctor/endpoints.ts";
import { type ExaminationOptions, examine } from "../../src/cli/doctor/examination.ts";
import { type Finding, quoted } from "../../src/cli/doctor/finding.ts";
import { judgeLeftovers, judgeStore, type KeysSeen } from "../../src/cli/doctor/leftovers.ts";
import { judgeRights } from "../../src/cli/doctor/rights.ts";
import { electionMsOf, judgeTiming, leastTtlSeconds } from "../../src/cli/doctor/timing.ts";
import { judgeVersions } from "../../src/cli/doctor/versions.ts";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { toBytes } from "../../src/etcd/bytes.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  type KeyValue,
  KeyValueSchema,
} from "../../src/etcd/gen/etcd_pb.ts";
import { silentLogger } from "../../src/log.ts";
import { Member } from "../../src/member/member.ts";
import { pause } from "../../src/steering/pause.ts";
import { onEveryStore } from "../conformance/stores.ts";
import { appPassword, SecuredEtcd } from "../etcd/secured-etcd.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { eventually } from "../support/eventually.ts";
import { execute } from "./succession.ts";

/** Level and text of what is not ok, as one line each. */
const told = (findings: readonly Finding[]): string[] =>
  findings.filter(({ level }) => level !== "ok").map(({ level, what }) => `${level}: ${what}`);

const status = (of: Partial<EndpointStatus> = {}): EndpointStatus => ({
  ...{ version: "3.5.30", memberId: 1n, clusterId: 0xcn, leader: 1n, raftTerm: 2n, raftIndex: 10n },
  ...{ raftAppliedIndex: 10n, isLearner: false, dbSizeBytes: 1n, errors: [] },
  ...of,
});

const member = (id: bigint) => ({ id, name: `m${id}`, clientUrls: [`http://m${id}:2379`], isLearner: false });
const three = [member(1n), member(2n), member(3n)];
const all = three.map(({ id, name }) => ({ name, status: status({ memberId: id }) }));

describe("endpoints", () => {
  test("that all serve are well, and the raft leader is named", () => {
    expect(judgeEndpoints(all, three)).toEqual([
      { level: "ok", check: "endpoints", what: "3 of 3 answer; the raft leader is m1" },
    ]);
  });

  test.each<[string, Parameters<typeof judgeEndpoints>, string[]]>([
    [
      "that are all silent",
      [[{ name: "a", error: "refused" }], undefined],
      ["problem: a does not serve: refused"],
    ],
    [
      "of which one is silent",
      [[...all.slice(1), { name: "a", error: "refused" }], three],
      ["warning: a does not serve: refused"],
    ],
    [
      "of two clusters",
      [
        [
          { name: "a", status: status() },
          { name: "b", status: status({ clusterId: 0xdn }) },
        ],
        undefined,
      ],
      ["problem: the endpoints are of different clusters: a of c, b of d"],
    ],
    [
      "without a raft leader",
      [[{ name: "a", status: status({ leader: 0n }) }], undefined],
      ["problem: a has no raft leader"],
    ],
    [
      "that are behind, learners and nearly full",
      [
        [{ name: "a", status: status({ raftIndex: 9_999n, isLearner: true, dbSizeBytes: 2n ** 31n }) }],
        undefined,
      ],
      [
        "warning: a is a learner, which serves no elections",
        "warning: a has yet to apply 9989 entries",
        "warning: a has a database of 2048 MiB",
      ],
    ],
    [
      "of some members alone",
      [all.slice(0, 2), three],
      ["advice: the cluster has members that no endpoint here is for: m3 (http://m3:2379)"],
    ],
    [
      "of which most are silent",
      [[...all.slice(0, 1), { name: "b", error: "refused" }, { name: "c", error: "silent" }], three],
      [
        "warning: b does not serve: refused",
        "warning: c does not serve: silent",
        "warning: 1 of 3 voting members answer: seen from here that is no majority",
      ],
    ],
    [
      "of one member",
      [all.slice(0, 1), three.slice(0, 1)],
      ["advice: the cluster is one member: its loss is an outage"],
    ],
    [
      "of two members",
      [all.slice(0, 2), three.slice(0, 2)],
      ["advice: the cluster has 2 voting members, and survives no more losses than with one less"],
    ],
  ])("%s", (_title, seen, findings) => {
    expect(told(judgeEndpoints(...seen))).toEqual(findings);
  });
});

test.each<[string, RegExp[]]>([
  ["3.6.9", []],
  ["3.5.28", []],
  ["3.4.42", []],
  ["3.4.23", [/warning: .*15247/, /warning: .*17529/, /advice: .*15402/, /advice: .*GHSA/]],
  [
    "3.5.1",
    [
      /problem: .*different data/,
      /warning: .*15247/,
      /warning: .*17529/,
      /advice: .*15402/,
      /advice: .*GHSA/,
    ],
  ],
  ["3.5.16", [/advice: .*seen with 3.5.16/, /advice: .*GHSA/]],
  ["3.6.0-rc.3", [/advice: .*GHSA/]],
  ["3.3.27", [/problem: .*older than 3.4/]],
  ["3.5.16-succession-dev", [/advice: what runs is no release of etcd/]],
])("of etcd %s what is known is told", (version, says) => {
  const findings = told(judgeVersions([{ name: "a", version }]));
  expect(findings).toEqual(says.map((each) => expect.stringMatching(each)));
});

test("alarms are told once, whoever tells them, with what they mean", () => {
  const errors = [{ name: "a", error: "memberID:1 alarm:NOSPACE " }];
  const both = judgeAlarms([{ alarm: "NOSPACE", at: "member 1" }], errors);
  expect(told(both)).toEqual([expect.stringMatching(/^problem: NOSPACE at member 1: .*nobody can join$/)]);
  expect(told(judgeAlarms([], errors))).toEqual([expect.stringMatching(/^problem: NOSPACE at a: /)]);
  expect(told(judgeAlarms([], [{ name: "a", error: "etcdserver: no leader" }]))).toEqual([]);
  expect(judgeAlarms(undefined, [])).toMatchObject([
    { level: "ok", what: expect.stringMatching(/not to be had/) },
  ]);
});

describe("timing", () => {
  test.each([
    // Measured: with the default election timeout 2 s do not survive the loss of the raft leader, and 5 s do.
    [5, 2, 5],
    [400, 2, 6],
    [5, 8, 18],
  ])("a cluster of %d ms that grants %d s at least wants a TTL of %d s", (slowestMs, granted, ttl) => {
    expect(leastTtlSeconds(slowestMs, electionMsOf(granted))).toBe(ttl);
  });

  test.each<[string, number[], number, number, string[]]>([
    ["of a fast cluster suits 10 s", [5, 6, 5], 10, 2, []],
    ["warns of a TTL that a raft election outlives", [5], 2, 2, ["warning: a TTL of 2 s may not survive"]],
    [
      "warns of a TTL that is not granted",
      [5],
      5,
      8,
      ["warning: etcd grants no TTL below 8 s", "warning: a TTL"],
    ],
    [
      "is a problem where a commit takes longer than is waited for it",
      [900],
      3,
      2,
      [
        "advice: a: round trip",
        "problem: the slowest of 1 commits took 900 ms; with a TTL of 3 s an endpoint has 500 ms",
      ],
    ],
  ])("%s", (_title, commits, ttl, granted, says) => {
    const findings = told(judgeTiming([{ name: "a", roundTrips: [1], commits }], ttl, granted));
    expect(findings).toEqual(says.map((each) => expect.stringContaining(each)));
  });

  test("says why nothing could be granted", () => {
    const seen = { name: "a", roundTrips: [1], commits: [], error: "no space" };
    expect(told(judgeTiming([seen], 10, 2))).toEqual([
      "warning: a: round trip 1.0 ms, and no lease was granted: no space",
    ]);
  });
});

describe("the running of the clock", () => {
  const edge = (seconds: number, at: number) => ({ seconds: BigInt(seconds), from: at, to: at + 10 });
  test.each<[string, number, RegExp | undefined]>([
    ["as etcd's", 5_000, undefined],
    ["within what the measurement can tell", 5_055, undefined],
    ["1.8 % faster", 5_090, /^warning: it runs at another rate: \+1.60 % to \+2.00 % /],
    ["3 % faster", 5_150, /^problem: it runs at another rate/],
    ["3 % slower", 4_850, /^problem: it runs at another rate: -3.20 % to -2.80 % /],
  ])("%s", (_title, ms, says) => {
    const findings = told(judgeClockRate(clockRate(edge(60, 0), edge(55, ms)), 5));
    expect(findings).toEqual(says === undefined ? [] : [expect.stringMatching(says)]);
  });

  test("is not judged where the lease lost no second", () => {
    expect(clockRate(edge(60, 0), edge(60, 1_000))).toBeUndefined();
    expect(told(judgeClockRate(undefined, 5))).toEqual([
      expect.stringMatching(/^advice: .*could not be compared/),
    ]);
  });
});

describe("the keys of an election", () => {
  const kv = (key: string, lease: number, value: object | string, created = 1): KeyValue =>
    create(KeyValueSchema, {
      ...{ key: toBytes(key), lease: BigInt(lease), createRevision: BigInt(created) },
      value: toBytes(typeof value === "string" ? value : JSON.stringify(value)),
    });
  const folder = "_succession/v1/%2Fmerc/";
  const keys = (line: readonly KeyValue[], beside: readonly KeyValue[] | undefined): KeysSeen => ({
    ...{ election: "/merc", revision: 100n, line, folder: beside },
  });

  test("that are in order leave nothing to say", () => {
    const seen = keys(
      [kv("/merc/a", 10, "a")],
      [
        kv(`${folder}members/a`, 10, { id: "a" }),
        kv(`${folder}members/b`, 11, { id: "w", candidate: false }),
      ],
    );
    expect([...judgeLeftovers(seen), ...judgeStore(seen)].map(({ what }) => what)).toEqual([
      "none in /merc: 1 in line, 2 keys beside it",
      "/merc: no token is above the store's revision, 100",
    ]);
    expect(judgeLeftovers(keys([], undefined))[0]?.what).toBe("none in /merc: 0 in line");
  });

  test("that nobody takes away are named, and what to do is safe to copy", () => {
    const seen = keys(
      [kv("/merc/it's", 0, ""), kv("/merc/b", 0, ""), kv("/merc/config/x", 12, "", 7)],
      [
        kv(`${folder}members/9`, 0, {}),
        kv(`${folder}members/8`, 8, { id: "gone" }),
        kv(`${folder}pause`, 0, { reason: "upgrade" }),
        kv(`${folder}requests/handover`, 5, { token: 99 }),
        kv(`${folder}history/1`, 0, { token: 101 }),
      ],
    );
    expect(told([...judgeLeftovers(seen), ...judgeStore(seen)])).toEqual([
      "problem: the leader of /merc, /merc/it's, has no lease: it leads for ever, alive or not",
      "warning: candidates of /merc without a lease never go away, alive or not: /merc/b",
      "warning: below /merc/ stands what is named like no candidate, and is one to everybody: /merc/config/x",
      `advice: details in /merc without a lease stay for ever: ${folder}members/9`,
      "advice: members of /merc that have a lease and no place in line: gone",
      'advice: changes of leader in /merc are paused: "upgrade", and until it is resumed',
      "advice: a request for a handover in /merc means term 99, which is over: nobody acts on it",
      expect.stringMatching(
        /^problem: \/merc: there are tokens above the store's revision, 100: .*history\/1;/,
      ),
    ]);
    expect(judgeLeftovers(seen)[0]?.todo).toBe("if it is nobody's any more: etcdctl del '/merc/it'\\''s'");
    expect(quoted("a b")).toBe("'a b'");
  });
});

test("rights that are missing are named with the command that gives them", () => {
  const rights = (prefix: string, read: boolean, write: boolean) => ({ prefix, read, write });
  const findings = judgeRights({
    ...{ election: "/merc", line: rights("/merc/", true, false), folder: rights("_s/", false, false) },
  });
  expect(findings).toMatchObject([
    { level: "problem", todo: "etcdctl role grant-permission ROLE readwrite '/merc/' '/merc0'" },
    { level: "warning", todo: "etcdctl role grant-permission ROLE readwrite '_s/' '_s0'" },
  ]);
});

async function findingsOf(
  endpoints: readonly string[],
  options: Partial<Omit<ExaminationOptions, "connection">> & {
    readonly user?: string;
    readonly password?: string;
  } = {},
): Promise<Finding[]> {
  const { user, password, ...rest } = options;
  const credentials = user === undefined || password === undefined ? {} : { user, password };
  const findings: Finding[] = [];
  const examination = examine({
    ...{ connection: { endpoints, ...credentials }, logger: silentLogger, election: undefined },
    ...{ ttlSeconds: 10, clockSeconds: 0, timeoutMs: 5_000, signal: new AbortController().signal },
    ...rest,
  });
  for await (const finding of examination) findings.push(finding);
  return findings;
}

onEveryStore("an examination", (store) => {
  test("of a sound election finds no problem, and leaves nothing behind", async () => {
    const election = store.key("sound");
    const a = await Member.join({ endpoints: [store.endpoint], election, id: "a", worker: false });
    const client = store.client();
    await eventually(async () => {
      const { kvs } = await client.range("_succession/v1/", { prefix: true, keysOnly: true });
      expect(kvs.length).toBeGreaterThan(0);
    });
    const { leases } = await client.leaseList();
    const findings = await findingsOf([store.endpoint]);
    const bad = findings.filter(({ level }) => level === "warning" || level === "problem");
    // A busy machine may be slow, an installed etcd old, and an examination then says so.
    expect(bad.filter(({ check }) => !["versions", "TTL", "latency"].includes(check))).toEqual([]);
    const checks = new Set(findings.map(({ check }) => check));
    expect([...checks]).toEqual([
      ...["endpoints", "versions", "alarms", "latency", "TTL", "elections", "rights", "leftovers"],
      "store",
    ]);
    expect(findings.find(({ check }) => check === "elections")?.what).toContain(election);
    expect((await client.leaseList()).leases).toHaveLength(leases.length);
    await a.leave();
  });
});

describe("an examination", () => {
  test("goes on where an endpoint is dead, and tells alarms, junk and a pause", async () => {
    await using server = await DevServer.start();
    await using one = await Member.join({
      endpoints: [server.endpoint],
      election: "/merc",
      id: "a",
      worker: false,
    });
    server.store.put({ key: toBytes("/merc/junk"), value: toBytes("x") });
    await using client = new Etcd({ endpoints: [server.endpoint] });
    await pause(client, "/merc", { reason: "upgrade" });
    const { memberId } = server.store;
    const { ACTIVATE: action } = AlarmRequest_AlarmAction;
    server.store.alarm({ action, alarm: AlarmType.NOSPACE, memberId });
    const findings = told(
      await findingsOf([server.endpoint, "127.0.0.1:1"], { election: "/merc", timeoutMs: 3_000 }),
    );
    expect(findings).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^warning: 127\.0\.0\.1:1 does not serve: .*ECONNREFUSED/),
        expect.stringMatching(/^problem: NOSPACE at member/),
        "warning: candidates of /merc without a lease never go away, alive or not: /merc/junk",
        expect.stringMatching(/^advice: changes of leader in \/merc are paused: "upgrade"/),
      ]),
    );
    await one.leave();
  });

  const binary = realEtcds.at(-1);
  test.skipIf(binary === undefined)(
    "tells a user what it may not, and one who is none what etcd says",
    async () => {
      await using secured = await SecuredEtcd.start({ binary: binary as never, tokens: "simple" });
      await secured.enable();
      const { endpoint } = secured.server;
      const user = { user: "app", password: appPassword };
      const may = await findingsOf([endpoint], { ...user, election: "/app", clockSeconds: 1 });
      expect(may.map(({ check }) => check)).toContain("clock");
      expect(told(may.filter(({ check }) => check === "rights"))).toEqual([
        expect.stringMatching(
          /^warning: without readwrite below _succession\/v1\/%2Fapp\/ members show no address/,
        ),
      ]);
      const mayNot = await findingsOf([endpoint], { ...user, election: "/other" });
      expect(told(mayNot)).toContain("problem: the user may not read [/other/, /other0)");
      const nobody = await findingsOf([endpoint], { election: "/app" });
      expect(nobody.filter(({ level }) => level === "problem")).toEqual([
        expect.objectContaining({
          check: "rights",
          what: expect.stringMatching(/^could not be looked at: .*wants --user/),
          todo: expect.stringMatching(/by --user/),
        }),
      ]);
      expect(await findingsOf([endpoint], user)).toContainEqual(
        expect.objectContaining({
          check: "elections",
          todo: expect.stringMatching(/^name an election, or: etcdctl/),
        }),
      );
      expect(told(await findingsOf([endpoint], { ...user, password: "wrong" }))).toEqual([
        expect.stringMatching(/^problem: .* does not serve: .*authentication failed/),
      ]);
      // Whether it may write was asked without writing.
      expect(await secured.asRoot("get", "", "--prefix", "--keys-only")).toBe("");
    },
  );

  test("by the command shows odd names harmlessly, and exits with 1 for a problem", async () => {
    await using server = await DevServer.start();
    server.store.put({ key: toBytes("/merc/\x1b[31m\n"), value: toBytes("x") });
    const args = ["doctor", "/merc", "--clock-seconds", "0", "--endpoints", server.endpoint];
    const { code, stdout, stderr } = await execute(args);
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
    expect(stdout).toContain(
      "problem  leftovers  the leader of /merc, /merc/\\u{1b}[31m\\u{a}, has no lease",
    );
    expect(stdout).toMatch(/^ {20}-> if it is nobody's any more: etcdctl del '\/merc\/\\u\{1b\}/m);
    expect(stdout).toMatch(/\d+ ok, \d+ advice, 1 problem$/);
  });
});
