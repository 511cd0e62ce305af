import { expect, test } from "vitest";
import { succession } from "../cli/succession.ts";
import { descendants } from "./processes-of.ts";

test("two rounds are a crash and a handover, and never two leaders", { timeout: 60_000 }, async () => {
  await using demo = succession(["demo", "--rounds", "2", "--every", "1", "--json"]);
  expect(await demo.exit).toEqual({ code: 0, signal: null });
  expect(demo.lines).toHaveLength(1);
  const summary = JSON.parse(demo.stdout);
  expect(Object.keys(summary)).toEqual(["failovers", "requests", "overlaps"]);
  const [crash, handover] = summary.failovers;
  expect(summary.failovers).toHaveLength(2);
  expect(crash).toEqual({ kind: "crash", from: "dc1", to: "dc2", ms: expect.any(Number) });
  expect(handover).toEqual({ kind: "handover", from: "dc2", to: "dc3", ms: expect.any(Number) });
  // Nobody knows of a crash before the lease of 2 s is over, but for the third that may have passed of it.
  expect(crash.ms).toBeGreaterThan(1_000);
  expect(handover.ms).toBeLessThan(crash.ms);
  expect(summary.requests.ok).toBeGreaterThan(20);
  expect(summary.overlaps).toBe(0);
});

test("as plain text it tells who leads, the line, the requests and every term", {
  timeout: 60_000,
}, async () => {
  await using demo = succession(["demo", "--rounds", "1", "--every", "1"]);
  expect(await demo.exit).toEqual({ code: 0, signal: null });
  expect(demo.stderr).toBe("");
  expect(demo.stdout).not.toContain("\x1b");
  for (const says of [
    /dc1 leads with token \d+/,
    /crash: killing dc1 with SIGKILL .*line dc1 . dc2 . dc3; \d+ served\W+\d+ failed/,
    /dc2 leads with token \d+, [\d.]+ m?s after the crash/,
    /^ {2}dc1 +token \d+ +0\.0 s to .* ended: killed$/m,
    /^ {2}overlaps +0/m,
  ]) {
    expect(demo.stdout).toMatch(says);
  }
});

test.runIf(process.platform === "linux")(
  "a member that dies by itself is reported and replaced",
  async () => {
    await using demo = succession(["demo", "--every", "60"]);
    await demo.waitFor("dc3 stands in line", 60_000);
    const newest = Math.max(...descendants(demo.pid));
    process.kill(newest, "SIGKILL");
    await demo.waitFor(/dc3 died by itself \(SIGKILL\)/, 30_000);
    await demo.waitFor("dc3 stands in line", 60_000, { from: demo.lines.length });
  },
);
