import { describe, expect, test } from "vitest";
import type { Messages, OverviewMessage, PastTerm } from "../../src/dashboard/messages.ts";
import { printable } from "../../src/dashboard/page/printable.ts";
import { failedInChinese, refusedInChinese } from "../../src/dashboard/page/refusals-chinese.ts";
import { after, initialState, isOld, type State } from "../../src/dashboard/page/state.ts";
import { isPlanned, lanesOf, marksOf, rangeOf, termsOf } from "../../src/dashboard/page/terms.ts";
import { duration, wholeSeconds } from "../../src/dashboard/page/times.ts";
import { refusalCodes } from "../../src/steering/refusal.ts";

const at = (seconds: number): string => new Date(seconds * 1_000).toISOString();
const term = (token: number, leader: string, fields: Partial<PastTerm> = {}): PastTerm => ({
  ...{ token, leader },
  ...fields,
});

test("every refusal is told in Chinese, with the server's words behind it", () => {
  for (const code of refusalCodes) expect(refusedInChinese(code, "why")).toMatch(/^被拒绝：[^（]+（why）$/);
  expect(refusedInChinese("of-a-later-version", "why")).toBe("被拒绝：why");
  expect(failedInChinese("TIMEOUT", "why")).toBe("未完成：未在规定时间内完成（why）");
});

describe("terms", () => {
  const history = [
    term(9, "b", { startedAt: at(112), gapMs: 0 }),
    term(5, "a", { startedAt: at(100), endedAt: at(110), cause: "resigned" }),
  ];

  test("are in the order of their tokens, and the present one lasts until now", () => {
    const terms = termsOf(history, 9, 120_000);
    expect(terms).toMatchObject([
      { token: 5, leader: "a", start: 100_000, end: 110_000, current: false, gapMs: undefined },
      { token: 9, leader: "b", start: 112_000, end: 120_000, current: true, causeBefore: "resigned" },
    ]);
  });

  test.each<[string, Partial<PastTerm>, Partial<PastTerm>, number]>([
    ["what the old leader said of its end", { endedAt: at(110) }, { startedAt: at(112), gapMs: 0 }, 2_000],
    ["the measure where it is longer", { endedAt: at(111) }, { startedAt: at(112), gapMs: 3_000 }, 3_000],
    ["the measure where clocks differ", { endedAt: at(110) }, { startedAt: at(4_000), gapMs: 5 }, 5],
    ["the measure where clocks overlap", { endedAt: at(115) }, { startedAt: at(112), gapMs: 5 }, 5],
    ["the clocks where nothing was measured", { endedAt: at(110) }, { startedAt: at(300) }, 190_000],
    ["nothing where the end is not known", {}, { startedAt: at(112) }, 0],
  ])("know for how long nobody led: %s", (_title, before, later, gapMs) => {
    const [, second] = termsOf(
      [term(1, "a", { startedAt: at(100), ...before }), term(2, "b", later)],
      2,
      500_000,
    );
    expect(second?.gapMs).toBe(gapMs);
  });

  test("without an instant are left out, and one of which no end is known lasts until the next", () => {
    const terms = termsOf(
      [term(1, "a"), term(2, "b", { startedAt: at(5) }), term(3, "c", { startedAt: at(9) })],
      7,
      20_000,
    );
    expect(terms).toMatchObject([
      { token: 2, end: 9_000 },
      { token: 3, end: 20_000, current: false },
    ]);
  });

  test.each([
    ["handover", true],
    ["resigned", true],
    ["lease-gone", false],
    ["unhealthy", false],
    [undefined, false],
  ])("after one ended by %s began by plan: %s", (causeBefore, planned) => {
    expect(isPlanned({ causeBefore })).toBe(planned);
  });

  test("share a lane where there are too many leaders, whoever led last first", () => {
    const terms = termsOf(
      ["a", "b", "c", "a"].map((leader, n) => term(n + 1, leader, { startedAt: at(n) })),
      4,
      10_000,
    );
    expect(lanesOf(terms, 8)).toEqual(["a", "c", "b"]);
    expect(lanesOf(terms, 2)).toEqual(["a"]);
  });

  test("are shown from a range that is never empty", () => {
    const terms = termsOf(history, 9, 120_000);
    expect(rangeOf("recent", terms, 120_000)).toEqual({ from: 100_000, to: 120_000 });
    expect(rangeOf("hour", terms, 120_000)).toEqual({ from: 120_000 - 3_600_000, to: 120_000 });
    const { from, to } = rangeOf("all", termsOf([], undefined, 5_000), 5_000);
    expect(to).toBeGreaterThan(from);
    // A clock that is ahead.
    const ahead = rangeOf("all", termsOf(history, 9, 90_000), 90_000);
    expect(ahead.to).toBeGreaterThan(ahead.from);
  });

  test.each([60_000, 3_600_000, 86_400_000, 30 * 86_400_000])(
    "have a few round marks over %i ms",
    (length) => {
      const marks = marksOf(1_000_123, 1_000_123 + length, 6, 0);
      expect(marks.length).toBeGreaterThan(1);
      expect(marks.length).toBeLessThanOrEqual(7);
      for (const mark of marks) expect(mark % 10_000).toBe(0);
    },
  );
});

test.each([
  [-5, "0 ms"],
  [850, "850 ms"],
  [2_400, "2.4 s"],
  [59_600, "1 min"],
  [192_000, "3 min 12 s"],
  [7_260_000, "2 h 1 min"],
  [439_200_000, "5 d 2 h"],
])("%i ms are told as %s", (ms, text) => {
  const units = { ms: "ms", s: "s", min: "min", h: "h", d: "d" };
  expect(duration(ms, units)).toBe(text);
  expect(wholeSeconds(1_001, units)).toBe("2 s");
});

test("text from elsewhere shows what cannot be seen, and is cut", () => {
  expect(printable("a\n\u001b[31m\u202eb\u2028")).toBe("a\\u{a}\\u{1b}[31m\\u{202e}b\\u{2028}");
  expect(printable("<b>&'\" 中文 🚀")).toBe("<b>&'\" 中文 🚀");
  expect(printable("x".repeat(200))).toBe(`${"x".repeat(160)}…`);
});

describe("the page's state", () => {
  const overview = { election: "/merc", line: [], leader: null } as unknown as OverviewMessage;
  const chosen: State = { ...initialState, chosen: "/merc", link: "lost" };
  const told = <K extends keyof Messages>(state: State, kind: K, message: Messages[K]): State =>
    after(state, kind, message, 1_000);

  test("is live with each message", () => {
    expect(told(chosen, "hello", { version: "1", steering: true })).toMatchObject({ link: "live" });
    expect(told(chosen, "overview", overview)).toMatchObject({ link: "live", overview });
  });

  test("takes nothing of an election that is not looked at any more", () => {
    const other = { ...chosen, chosen: "/other" };
    expect(told(other, "overview", overview).overview).toBeUndefined();
    expect(told(other, "leases", { election: "/merc", leases: {} }).leases).toBeUndefined();
  });

  test("is old while etcd does not answer, by so much", () => {
    const away = told(chosen, "beat", { time: at(0), awayMs: 400 });
    expect([isOld(away), away.freshAt]).toEqual([true, 600]);
    const back = told(away, "beat", { time: at(0) });
    expect([isOld(back), back.freshAt]).toEqual([false, 1_000]);
  });
});
