import { describe, expect, test } from "vitest";
import type { Acting } from "../../src/testing/ledger.ts";
import { judge, type Trial } from "./verdict.ts";

const spell = (who: string, start: number, end: number, token: bigint): Acting => ({
  who,
  start,
  end,
  token,
});

const trial = (spells: readonly Acting[], rest: Partial<Trial> = {}): Trial => ({
  spells,
  endings: new Map(),
  excuses: [],
  excusedMs: 100,
  from: 0,
  to: 100,
  leaderlessMs: 20,
  ...rest,
});

describe("the verdict on a run", () => {
  test("is good where one follows the other", () => {
    const verdict = judge(trial([spell("a", 0, 40, 1n), spell("b", 50, 100, 2n)]));
    expect(verdict).toEqual({ complaints: [], excused: [], leaderlessMs: 10 });
  });

  test("names two that acted at once", () => {
    const { complaints } = judge(trial([spell("a", 0, 51, 1n), spell("b", 50, 100, 2n)]));
    expect(complaints).toEqual([expect.stringContaining("both acted for 1.0 ms")]);
  });

  test.each([
    ["the term that etcd ended", "key-gone", 100, 0],
    ["no longer than is allowed", "key-gone", 5, 1],
    ["no other ending", "deadline", 100, 1],
  ] as const)("excuses %s", (_title, ending, excusedMs, complaints) => {
    const verdict = judge(
      trial([spell("a", 0, 60, 1n), spell("b", 50, 100, 2n)], {
        endings: new Map([[1n, ending]]),
        excuses: ["key-gone"],
        excusedMs,
      }),
    );
    expect(verdict.complaints).toHaveLength(complaints);
    expect(verdict.excused.map(({ ms }) => ms)).toEqual(complaints === 0 ? [10] : []);
  });

  test("names a token that fell, unless the store went back between", () => {
    const spells = [spell("a", 0, 40, 7n), spell("b", 50, 100, 2n)];
    expect(judge(trial(spells)).complaints).toEqual(["b led with token 2 after a with 7"]);
    expect(judge(trial(spells, { restoredAt: 45 })).complaints).toEqual([]);
  });

  test.each([
    ["in the beginning", [spell("a", 30, 100, 1n)]],
    ["between two", [spell("a", 0, 40, 1n), spell("b", 70, 100, 2n)]],
    ["in the end", [spell("a", 0, 70, 1n)]],
    ["at all", []],
  ])("complains when nobody led %s", (_title, spells) => {
    expect(judge(trial(spells)).complaints).toEqual([expect.stringContaining("nobody led for")]);
  });
});
