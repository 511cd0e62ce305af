import { describe, expect, test } from "vitest";
import { ManualClock } from "../testing/manual-clock.ts";
import { SignOfLife } from "./sign-of-life.ts";
import { Watchdog } from "./watchdog.ts";

/** A watchdog under a clock that the test moves; `beat` tells whether the main thread gives signs of life. */
function world(): {
  clock: ManualClock;
  main: { blocked: boolean };
  killed: number[];
  watchdog: Watchdog;
} {
  const clock = new ManualClock();
  const life = new SignOfLife();
  const main = { blocked: false };
  const killed: number[] = [];
  const beat = (): void => {
    if (!main.blocked) life.give(clock.now());
    clock.at(clock.now() + 50, beat);
  };
  beat();
  const watchdog = new Watchdog(clock, life, () => void killed.push(clock.now()));
  return { clock, main, killed, watchdog };
}

describe("the watchdog", () => {
  test("ends a blocked leader before its deadline, and not before it must", async () => {
    const { clock, main, killed, watchdog } = world();
    watchdog.add({ acting: true, until: 5_000 });
    await clock.advance(1_000);
    main.blocked = true;
    await clock.advance(3_800);
    expect(killed).toEqual([]);
    await clock.advance(200);
    expect(killed[0]).toBeGreaterThanOrEqual(4_900);
    expect(killed[0]).toBeLessThan(5_000);
  });

  test("ends one that is blocked just before its deadline soon after, within the margin of 250 ms", async () => {
    const { clock, main, killed, watchdog } = world();
    watchdog.add({ acting: true, until: 5_000 });
    await clock.advance(4_990);
    main.blocked = true;
    await clock.advance(400);
    expect(killed[0]).toBeLessThan(5_200);
  });

  test("leaves a leader alone whose loop turns, whatever its deadline", async () => {
    const { clock, killed, watchdog } = world();
    watchdog.add({ acting: true, until: 1_000 });
    await clock.advance(10_000);
    expect(killed).toEqual([]);
  });

  test("leaves a blocked standby alone", async () => {
    const { clock, main, killed, watchdog } = world();
    watchdog.add({ acting: false, until: 1_000 });
    main.blocked = true;
    await clock.advance(10_000);
    expect(killed).toEqual([]);
  });

  test("ends at once a blocked leader whose key is gone", async () => {
    const { clock, main, killed, watchdog } = world();
    const watched = { acting: true, until: 60_000 };
    watchdog.add(watched);
    main.blocked = true;
    await clock.advance(5_000);
    watched.until = Number.NEGATIVE_INFINITY;
    await clock.advance(50);
    expect(killed.length).toBeGreaterThan(0);
  });

  test("gives a process that was suspended as a whole the time to step down", async () => {
    const { clock, killed, watchdog } = world();
    const watched = { acting: true, until: 1_000 };
    watchdog.add(watched);
    await clock.advance(500);
    clock.jump(60_000);
    await clock.advance(75);
    watched.acting = false;
    await clock.advance(1_000);
    expect(killed).toEqual([]);
  });

  test("does not count looks from before a suspension against a loop that was only busy", async () => {
    const { clock, main, killed, watchdog } = world();
    watchdog.add({ acting: true, until: 1_000 });
    await clock.advance(400);
    main.blocked = true;
    await clock.advance(110);
    clock.jump(60_000);
    await clock.advance(0);
    main.blocked = false;
    await clock.advance(1_000);
    expect(killed).toEqual([]);
  });

  test("looks no more when there is nobody left", async () => {
    const { clock, main, killed, watchdog } = world();
    const remove = watchdog.add({ acting: true, until: 1_000 });
    remove();
    main.blocked = true;
    await clock.advance(10_000);
    expect(killed).toEqual([]);
  });
});
