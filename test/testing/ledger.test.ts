import { expect, test } from "vitest";
import type { Term } from "../../src/concurrency/term.ts";
import { Ledger, ManualClock } from "../../src/testing/index.ts";
import { gate } from "../member/world.ts";

const term = (token: bigint, signal = new AbortController().signal): Term => ({ token, signal }) as Term;

test("a ledger records the work from its start until it has settled, and what overlaps", async () => {
  const clock = new ManualClock();
  const ledger = new Ledger({ clock });
  const [a, b] = [gate(), gate()];
  const first = ledger.lead("a", () => a.opened)(term(1n));
  await clock.advance(100);
  const second = ledger.lead("b", async () => {
    await b.opened;
    throw new Error("broken");
  })(term(2n));
  await clock.advance(30);
  expect(ledger.spells).toEqual([
    { who: "a", token: 1n, start: 0, end: 130 },
    { who: "b", token: 2n, start: 100, end: 130 },
  ]);
  a.open();
  await first;
  await clock.advance(70);
  b.open();
  await expect(second).rejects.toThrow("broken");
  await clock.advance(50);
  expect(ledger.overlaps).toMatchObject([{ first: { who: "a" }, second: { who: "b", end: 200 }, ms: 30 }]);
  expect(ledger.idleMs()).toBe(50);
  expect(ledger.idleMs(0, 200)).toBe(0);
});

test("without work it leads until the term ends", async () => {
  const ledger = new Ledger();
  const end = new AbortController();
  const led = ledger.lead("a")(term(1n, end.signal));
  end.abort();
  await led;
  expect(ledger.spells).toHaveLength(1);
  expect(new Ledger().idleMs()).toBe(0);
});
