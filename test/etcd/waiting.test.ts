import fc from "fast-check";
import { expect, test } from "vitest";
import { LinkedSignal } from "../../src/etcd/linked-signal.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";
import { backoffMs } from "../../src/waiting.ts";

class Chance extends ManualClock {
  readonly #value: number;

  constructor(value: number) {
    super();
    this.#value = value;
  }

  override random(): number {
    return this.#value;
  }
}

test("a pause doubles from the first to the longest, half of it by chance", () => {
  const pauses = [1, 2, 3, 5, 6, 100].map((failures) => [
    backoffMs(new Chance(0), failures),
    backoffMs(new Chance(0.999_999), failures),
  ]);
  expect(pauses.map(([least]) => least)).toEqual([25, 50, 100, 400, 500, 500]);
  expect(pauses.map(([, most]) => Math.round(most ?? 0))).toEqual([50, 100, 200, 800, 1_000, 1_000]);
});

test("a pause is never shorter than half the first and never longer than the longest", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10_000 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (failures, chance) => {
        const pause = backoffMs(new Chance(chance), failures);
        return pause >= 25 && pause <= 1_000;
      },
    ),
  );
});

test("a linked signal aborts with the first of its sources, and takes its listeners away", () => {
  const sources = [new AbortController(), new AbortController()];
  const linked = new LinkedSignal(...sources.map(({ signal }) => signal), undefined);
  const other = new LinkedSignal(sources[0]?.signal);
  other.release();
  sources[0]?.abort("first");
  sources[1]?.abort("second");
  expect(linked.signal.reason).toBe("first");
  expect(other.signal.aborted).toBe(false);
  expect(new LinkedSignal(AbortSignal.abort("before")).signal.reason).toBe("before");
});
