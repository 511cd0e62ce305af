import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Acting, idleMs, overlaps } from "../../src/testing/ledger.ts";

const spell = (who: string, start: number, end: number, token: bigint): Acting => ({
  who,
  start,
  end,
  token,
});

describe("overlaps", () => {
  test("finds none where one begins when the other has ended", () => {
    expect(overlaps([spell("b", 10, 20, 2n), spell("a", 0, 10, 1n)])).toEqual([]);
  });

  test("finds a planted one, and says how long it was", () => {
    const a = spell("a", 0, 11, 1n);
    const b = spell("b", 10, 20, 2n);
    expect(overlaps([b, a])).toEqual([{ first: a, second: b, ms: 1 }]);
  });

  test("finds every pair of three at once, also one inside another", () => {
    const spells = [spell("a", 0, 100, 1n), spell("b", 10, 20, 2n), spell("c", 15, 30, 3n)];
    expect(overlaps(spells).map(({ first, second, ms }) => [first.who, second.who, ms])).toEqual([
      ["a", "b", 10],
      ["a", "c", 15],
      ["b", "c", 5],
    ]);
  });

  test("finds as many as comparing each with each does", () => {
    const instants = fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 10 }));
    fc.assert(
      fc.property(fc.array(instants, { maxLength: 12 }), (list) => {
        const spells = list.map(([start, length], at) => spell(`m${at}`, start, start + length, BigInt(at)));
        const pairs = spells.flatMap((a, at) =>
          spells.slice(at + 1).filter((b) => Math.min(a.end, b.end) > Math.max(a.start, b.start)),
        );
        expect(overlaps(spells)).toHaveLength(pairs.length);
      }),
    );
  });
});

test("idle time is what nobody's spell covers", () => {
  const spells = [spell("a", 10, 20, 1n), spell("b", 15, 30, 2n), spell("c", 40, 90, 3n)];
  expect(idleMs(spells, 0, 60)).toBe(10 + 10);
  expect(idleMs([], 5, 8)).toBe(3);
});
