import { describe, expect, test } from "vitest";
import { cutTo, displayWidth, padTo } from "../../src/cli/display-width.ts";
import { leaderText, lineHead, lineRows, notesOf } from "../../src/cli/line-table.ts";
import { statusJson } from "../../src/cli/status-json.ts";
import { styleFor } from "../../src/cli/style.ts";
import { table } from "../../src/cli/table.ts";
import { termHead, termRow } from "../../src/cli/term-table.ts";
import { eventsBetween, observed, type WatchEvent } from "../../src/cli/watch-events.ts";
import { eventText } from "../../src/cli/watch-text.ts";
import { sharesOf, type Watched, watchLines } from "../../src/cli/watch-view.ts";
import { EtcdError, grpc } from "../../src/etcd/failure.ts";
import type { Overview, Place } from "../../src/overview/overview.ts";

/** Nothing that a terminal would act on. */
const steersNothing = /^[^\p{Cc}\p{Cf}]*$/u;

const odd = 'b "x" \n\x1b[31m\u202e 東京 👍';

function place(id: string, token: bigint, more: Partial<Place> = {}): Place {
  return { id, key: `/merc/${token}`, token, leaseId: token, isMember: true, ...more };
}

function overview(ids: readonly string[], more: Partial<Overview> = {}): Overview {
  const line = ids.map((id, at) => place(id, BigInt(at + 10)));
  return {
    ...{ election: "/merc", leader: line[0], line, witnesses: [], pause: undefined, handover: undefined },
    ...{ terms: [], revision: 99n, complete: true, ...more },
  };
}

const pause = { reason: "upgrade \x1b[1m", since: "then", by: "Ann", revision: 7n, leaseId: 70n };

describe("the width of text on a terminal", () => {
  test.each([
    ["plain", 5],
    ["東京", 4],
    ["👍", 2],
    ["e\u0301", 1],
    ["ﾊﾝｶｸ", 4],
    ["한국어", 6],
    ["❤\uFE0F", 2],
  ])("of %j is %i", (text, width) => expect(displayWidth(text)).toBe(width));

  test("is what padding and cutting go by", () => {
    expect(padTo(6, "東京")).toBe("東京  ");
    expect(cutTo(4, "東京都庁")).toBe("東…");
    expect(cutTo(4, "abcd")).toBe("abcd");
  });
});

describe("the table of a line", () => {
  const times = new Map([[10n, { remainingMs: 8_000, ttlMs: 10_000 }]]);
  const seen = overview(["a", odd], {
    witnesses: [{ id: "w", leaseId: 50n, zone: "west" }],
    pause,
    line: [
      place("a", 10n, { priority: 120, healthy: false, zone: "東京" }),
      place(odd, 11n, { isMember: false }),
    ],
  });

  test("has its columns in line, whatever the ids are, and steers no terminal", () => {
    const lines = table([lineHead, ...lineRows(seen, times)]).split("\n");
    for (const line of lines) expect(line).toMatch(steersNothing);
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatch(/^ {2}# {2}ROLE +ID +ZONE +PRIORITY +LEFT +TOKEN +LEASE +HEALTH$/);
    const column = displayWidth((lines[0] ?? "").split("ZONE")[0] ?? "");
    expect(lines[1]).toMatch(/^ {2}1 {2}leader +a +東京 +120 +8\/10 s +10 +a +unwell$/);
    expect(displayWidth((lines[1] ?? "").split("東京")[0] ?? "")).toBe(column);
    expect(displayWidth((lines[3] ?? "").split("west")[0] ?? "")).toBe(column);
    expect(lines[2]).toContain('b "x" \\u{a}\\u{1b}[31m\\u{202e} 東京 👍');
  });

  test("comes with who leads, since when, a pause and a handover", () => {
    const terms = [{ token: 10n, leader: "a", startedAt: "then" }];
    expect(leaderText({ ...seen, terms })).toBe("/merc: a leads since then, 1 in line behind");
    const request = { token: 10n, to: odd, by: "Bob", revision: 5n, leaseId: 1n, json: {} };
    const notes = notesOf(
      { ...seen, handover: request },
      new Map([[70n, { remainingMs: 60_000, ttlMs: 0 }]]),
    );
    expect(notes[0]).toBe("paused: upgrade \\u{1b}[1m, since then, by Ann, for 60 s more");
    expect(notes[1]).toMatch(/^handover to b "x" .* asked for by Bob$/);
    expect(notes.join("")).toMatch(steersNothing);
  });

  test("as JSON keeps ids as they are, and numbers as numbers", () => {
    const json = JSON.stringify(statusJson(seen, times), (_key, each: unknown) =>
      typeof each === "bigint" ? Number(each) : each,
    );
    expect(JSON.parse(json)).toMatchObject({
      leader: { id: "a", token: 10, role: "leader", position: 0, remainingMs: 8_000, healthy: false },
      line: [{ id: "a" }, { id: odd, role: "standby", position: 1, member: false, leaseId: "b" }],
      witnesses: [{ id: "w", role: "witness", leaseId: "32" }],
      pause: { reason: pause.reason, remainingMs: null },
      ...{ handover: null, complete: true, leaderSince: null },
    });
  });
});

test("a term without an end that does not lead any more is not said to lead", () => {
  const rows = [12n, 11n].map((token) => termRow({ token, leader: odd, startedAt: "then" }, 12n));
  expect(rows.map((row) => row[4])).toEqual(["leads", "-"]);
  expect(table([termHead, ...rows])).toMatch(/START/);
  const ended = {
    token: 1n,
    leader: "a",
    startedAt: "2030-01-01T00:00:00Z",
    endedAt: "2030-01-01T00:01:00Z",
  };
  expect(termRow({ ...ended, cause: "handover", gapMs: 3 }, 12n).slice(5)).toEqual([
    "60 s",
    "handover",
    "3 ms",
  ]);
});

describe("the screen of watch", () => {
  const style = styleFor({ colour: false, unicode: true });
  const watched = (seen: Overview, more: Partial<Watched> = {}): Watched => ({
    ...{ election: seen.election, item: { at: "current", overview: seen, skipped: 0 } },
    ...{ times: new Map(), timesAgeMs: 0, staleMs: 0, ...more },
  });
  const many = overview(Array.from({ length: 500 }, (_, at) => `node-${at} ${odd}`));

  test.each([1, 2, 5, 24, 60])(
    "fits into %i rows with 500 candidates, and says how many are not shown",
    (rows) => {
      const lines = watchLines([watched(many)], { rows, columns: 200, style });
      expect(lines.length).toBeLessThanOrEqual(rows);
      for (const line of lines) expect(line).toMatch(steersNothing);
      expect(lines[0]).toContain("499 in line behind");
      if (rows >= 24) expect(lines.join("\n")).toMatch(/^ {2}and \d+ more$/m);
    },
  );

  test("gives each election what it needs, and the rest to those who need more", () => {
    expect(sharesOf(24, [3, 500])).toEqual([3, 21]);
    expect(sharesOf(24, [500, 500])).toEqual([12, 12]);
    expect(sharesOf(5, [2, 2])).toEqual([2, 2]);
    const lines = watchLines([watched(overview([])), watched(many)], { rows: 24, columns: 200, style });
    expect(lines[0]).toBe("/merc: nobody leads, and nobody stands in line");
    expect(lines.length).toBe(24);
  });

  test.each([
    [200, /^ {2}# +ROLE +ID +ZONE +LEFT +TOKEN +LEASE +ADDRESS +HEALTH$/m, /TOKEN +LEADER +START +END/],
    [80, /^ {2}# +ROLE +ID +ZONE +LEFT +TOKEN +HEALTH$/m, /^ {2}TOKEN +LEADER +START +CAUSE +GAP$/m],
    [40, /^ {2}# +ROLE +ID +LEFT +HEALTH$/m, /^ {2}TOKEN +LEADER +CAUSE$/m],
    [20, /^ {2}# +ROLE +ID/m, /^ {2}TOKEN +LEADER/m],
  ])("of %i columns leaves out what matters less", (columns, line, terms) => {
    const id = "billing-7.example.org:8080";
    const told = { healthy: false, zone: "frankfurt", address: "http://10.0.0.1:8080" };
    const [startedAt, endedAt] = ["2030-01-01T00:00:00Z", "2030-01-01T00:01:00Z"];
    const seen = overview([], {
      leader: place(id, 10n),
      line: [place(id, 10n, told)],
      terms: [{ token: 9n, leader: id, startedAt, endedAt, cause: "unhealthy", gapMs: 312 }],
    });
    const times = new Map([[10n, { remainingMs: 8_000, ttlMs: 10_000 }]]);
    const shown = watchLines([watched(seen, { times })], { rows: 24, columns, style }).join("\n");
    expect(shown).toMatch(line);
    expect(shown).toMatch(terms);
    if (columns >= 40) expect(shown).toMatch(/^ {2}1 .*8\/10 s .* unwell$/m);
  });

  test("says when etcd is away, and that not everything may be read", () => {
    const error = new EtcdError("ETCD_UNAVAILABLE", "no \x1b answer", grpc.unavailable, false);
    const stale = { at: "stale", error, overview: overview(["a"]), answeredAt: 0, skipped: 0 } as const;
    const lines = watchLines([watched(overview(["a"]), { item: stale, staleMs: 12_300 })], {
      rows: 24,
      columns: 200,
      style,
    });
    expect(lines[1]).toBe("  etcd has not answered for 12 s; this is how it was (no \\u{1b} answer)");
    const poor = watchLines([watched(overview(["a"], { complete: false }))], {
      rows: 24,
      columns: 200,
      style,
    });
    expect(poor[1]).toMatch(/no right to read what members tell/);
  });
});

describe("the events between two looks", () => {
  const names = (events: readonly WatchEvent[]): string[] => events.map(({ event, id }) => `${event} ${id}`);

  test("of a failover: who went, who leads, and then why", () => {
    const before = overview(["a", "b"], { terms: [{ token: 10n, leader: "a" }] });
    const [, second] = before.line;
    const after: Overview = { ...before, line: before.line.slice(1), leader: second };
    expect(names(eventsBetween(before, after))).toEqual(["left a", "leader b"]);
    const told: Overview = {
      ...after,
      terms: [{ token: 10n, leader: "a", endedAt: "then", cause: "deadline" }],
    };
    expect(eventsBetween(after, told)).toMatchObject([
      { event: "ended", id: "a", token: 10n, leader: "b", cause: "deadline" },
    ]);
    expect(eventsBetween(told, told)).toEqual([]);
    expect(names(eventsBetween(before, overview([])))).toEqual(["left a", "left b", "observed null"]);
  });

  test("of joining, pausing, asking for a handover, and proclaiming", () => {
    const alone = overview(["a"]);
    const paused = overview(["a", odd], { pause });
    expect(names(eventsBetween(alone, paused))).toEqual([`candidate ${odd}`, "paused null"]);
    expect(names(eventsBetween(paused, overview(["a", odd])))).toEqual(["resumed null"]);
    const handover = { token: 10n, by: "Ann", revision: 5n, leaseId: 1n, json: {} };
    expect(eventsBetween(alone, { ...alone, handover })).toMatchObject([
      { event: "handover", to: null, by: "Ann" },
    ]);
    expect(names(eventsBetween(alone, overview(["a2"])))).toEqual(["observed a2"]);
  });

  test("do not tell old ends as news when what members tell becomes readable", () => {
    const terms = [{ token: 3n, leader: "x", endedAt: "then", cause: "resigned" }];
    expect(eventsBetween(overview(["a"], { complete: false }), overview(["a"], { terms }))).toEqual([]);
  });

  test("are told in lines that steer nothing", () => {
    const present = observed(overview([odd]));
    const all: readonly WatchEvent["event"][] = [
      ...([
        "observed",
        "candidate",
        "left",
        "leader",
        "ended",
        "paused",
        "resumed",
        "handover",
        "error",
      ] as const),
    ];
    for (const event of all) {
      const text = eventText({ ...present, event, cause: odd, by: odd, reason: odd, to: odd, message: odd });
      expect(text).toMatch(steersNothing);
      expect(text).not.toBe("");
    }
    expect(eventText(observed(overview([])))).toBe("nobody leads");
  });
});
