import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { shortest, told } from "./shortest.ts";
import { Simulation } from "./simulation.ts";
import { scenarioOf } from "./story.ts";
import { installTime } from "./time-source.ts";

// `node scripts/simulate.mjs` runs 10,000.
const seeds = 300;
const atOnce = 50;
const limitMs = 180_000;

describe("in a simulated world", () => {
  let restoreTime = (): void => {};
  beforeAll(() => {
    restoreTime = installTime();
  });
  afterAll(() => restoreTime());

  test.each(Array.from({ length: seeds / atOnce }, (_, at) => ({ first: 1 + at * atOnce })))(
    "no seed from $first on breaks an invariant",
    async ({ first }) => {
      for (let seed = first; seed < first + atOnce; seed++) {
        const { violation } = await new Simulation(scenarioOf(seed)).run();
        if (violation === undefined) continue;
        const short = await shortest(scenarioOf(seed), violation.rule);
        const replay = `node scripts/simulate.mjs --seed ${seed}`;
        expect.fail(
          `${violation.rule}: ${violation.text}\n${replay}\n${told(short.scenario, short.outcome)}`,
        );
      }
    },
    limitMs,
  );

  test("a seed gives the same run again", async () => {
    const [first, second] = [
      await new Simulation(scenarioOf(7), true).run(),
      await new Simulation(scenarioOf(7), true).run(),
    ];
    expect(first.notes.length).toBeGreaterThan(50);
    expect(second).toEqual(first);
  });
});
