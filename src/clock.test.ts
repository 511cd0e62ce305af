import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SystemClock } from "./clock.ts";

/** What the machine's clocks say, in milliseconds; timers run on the first, as Node's do. */
const machine = vi.hoisted(() => ({ monotonicMs: 0, bootMs: 0 }));

vi.mock("node:os", () => ({ uptime: () => Math.floor(machine.bootMs / 10) / 100 }));

describe("the system clock", () => {
  beforeEach(() => {
    Object.assign(machine, { monotonicMs: 5_000, bootMs: 90_000 });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    vi.spyOn(process.hrtime, "bigint").mockImplementation(() =>
      BigInt(Math.round(machine.monotonicMs * 1e6)),
    );
    vi.spyOn(process, "platform", "get").mockReturnValue("linux");
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  /** Time in which the machine runs. */
  async function run(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 10) {
      machine.monotonicMs += Math.min(10, left);
      machine.bootMs += Math.min(10, left);
      await vi.advanceTimersByTimeAsync(Math.min(10, left));
    }
  }

  test("begins at 0 and goes on with monotonic time", async () => {
    const clock = new SystemClock();
    expect(clock.now()).toBe(0);
    await run(1_234);
    expect(clock.now()).toBe(1_234);
  });

  test("counts time in which the machine was suspended: monotonic time stood still, boot time went on", async () => {
    const clock = new SystemClock();
    await run(100);
    machine.bootMs += 60_000;
    expect(clock.now()).toBeGreaterThanOrEqual(60_090);
  });

  test("a timer that was set before a suspension is late by a second at most", async () => {
    const clock = new SystemClock();
    let firedAt = 0;
    clock.at(30_000, () => {
      firedAt = clock.now();
    });
    await run(100);
    machine.bootMs += 60_000;
    await run(1_100);
    expect(firedAt).toBeGreaterThanOrEqual(60_000);
  });

  test("never goes back, whichever of the two is ahead", async () => {
    const clock = new SystemClock();
    let last = clock.now();
    for (let round = 0; round < 200; round++) {
      await run(1 + (round % 7));
      if (round % 50 === 49) machine.bootMs += 1_000;
      expect(clock.now()).toBeGreaterThanOrEqual(last);
      last = clock.now();
    }
  });

  test("does not call a task before its instant, nor after it was canceled", async () => {
    const clock = new SystemClock();
    const fired: number[] = [];
    clock.at(500, () => void fired.push(clock.now()));
    const cancel = clock.at(400, () => void fired.push(-1));
    await run(300);
    cancel();
    cancel();
    await run(100);
    expect(fired).toEqual([]);
    await run(200);
    expect(fired).toHaveLength(1);
    expect(fired[0]).toBeGreaterThanOrEqual(500);
  });

  test("shares its scale with a clock of the same origin, in whichever thread", async () => {
    const clock = new SystemClock();
    await run(777);
    expect(new SystemClock(clock.origin).now()).toBe(clock.now());
  });

  test("elsewhere than on Linux monotonic time alone counts, for uptime follows the wall clock there", async () => {
    vi.spyOn(process, "platform", "get").mockReturnValue("darwin");
    const clock = new SystemClock();
    await run(100);
    machine.bootMs += 3_600_000;
    expect(clock.now()).toBe(100);
  });
});
