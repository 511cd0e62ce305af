import { expect, test } from "vitest";
import { DemoRecord, exitCodeOf } from "../../src/cli/demo/record.ts";
import { timeline } from "../../src/cli/demo/timeline.ts";
import { styleFor } from "../../src/cli/style.ts";

/** dc1 is killed at 100 and its successor acts from 350 on; then dc2 is asked to leave at 1000. */
function twoFailovers(): DemoRecord {
  const record = new DemoRecord();
  record.reported("dc1", { on: "began", token: 2n, at: 0 });
  record.reported("dc1", { on: "acting", token: 2n, at: 90 });
  record.died("dc1", 100);
  record.began("crash", "dc1", 100);
  record.reported("dc2", { on: "began", token: 4n, at: 350 });
  record.began("handover", "dc2", 1_000);
  record.reported("dc2", { on: "ended", token: 4n, at: 1_002, cause: "resigned" });
  record.reported("dc3", { on: "began", token: 6n, at: 1_010.126 });
  for (let count = 0; count < 5; count++) record.served();
  record.failed();
  return record;
}

test("the summary has the failovers, the requests and no overlap", () => {
  const record = twoFailovers();
  expect(record.summary(2_000)).toEqual({
    failovers: [
      { kind: "crash", from: "dc1", to: "dc2", ms: 250 },
      { kind: "handover", from: "dc2", to: "dc3", ms: 10.13 },
    ],
    requests: { ok: 5, failed: 1 },
    overlaps: 0,
  });
  expect(exitCodeOf(record.summary(2_000))).toBe(0);
  expect(record.leader).toBe("dc3");
  expect(record.leaderlessMs(2_000)).toBeCloseTo(250 + 8.126);
});

test("a member's planted record of acting beside the leader is one overlap, and exit code 1", () => {
  const record = twoFailovers();
  // dc2 says that it still acted after its successor had begun.
  record.reported("dc2", { on: "acting", token: 4n, at: 1_020 });
  expect(record.summary(2_000).overlaps).toBe(1);
  expect(exitCodeOf(record.summary(2_000))).toBe(1);
  expect(record.overlaps(2_000)).toMatchObject([{ first: { who: "dc2" }, second: { who: "dc3" } }]);
});

test("one who begins while another still acts is an overlap at once", () => {
  const record = new DemoRecord();
  record.reported("dc1", { on: "began", token: 2n, at: 0 });
  record.reported("dc2", { on: "began", token: 3n, at: 50 });
  expect(record.overlaps(60)).toHaveLength(1);
});

test("a killed member's spell lasts to the kill, or to its last word if that is later", () => {
  const record = new DemoRecord();
  record.reported("dc1", { on: "began", token: 2n, at: 0 });
  record.died("dc1", 100);
  record.reported("dc1", { on: "acting", token: 2n, at: 105 });
  expect(record.terms).toMatchObject([{ start: 0, end: 105, open: false, endedBy: "killed" }]);
  expect(record.leaderlessSince).toBe(105);
});

test.each([80, 50])("the timeline fits into %i columns, with and without signs of its own", (columns) => {
  for (const unicode of [true, false]) {
    const style = styleFor({ colour: false, unicode });
    const lines = timeline(twoFailovers().terms, ["dc1", "dc2", "dc3"], 2_000, { style, columns });
    expect(lines.filter((line) => line.length > columns)).toEqual([]);
    expect(lines.filter((line) => line.includes(style.bar))).toHaveLength(3);
    expect(lines.join("")).toMatch(unicode ? /█/ : /^[\x20-\x7e]*$/);
  }
});
