import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { shortest, told } from "./shortest.ts";
import { Simulation } from "./simulation.ts";
import { type Scenario, scenarioOf } from "./story.ts";
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

  test("one story in ten at least has each kind of user, of clock and of setting", () => {
    const stories = Array.from({ length: seeds }, (_, at) => scenarioOf(1 + at));
    const having = (is: (story: Scenario) => boolean): number => stories.filter(is).length;
    for (const kind of ["member", "campaigner", "mutex", "observer"] as const) {
      expect(
        having(({ processes }) => processes.includes(kind)),
        kind,
      ).toBeGreaterThan(seeds / 10);
    }
    expect(having(({ drift }) => drift > 0)).toBeGreaterThan(seeds / 10);
    expect(
      having(({ takeoverDelayMs, ttlSeconds }) => takeoverDelayMs >= ttlSeconds * 1_000),
    ).toBeGreaterThan(seeds / 10);
    expect(having(({ auth, prepares, observed }) => auth && (prepares || observed))).toBeGreaterThan(
      seeds / 10,
    );
  });

  test("a seed gives the same run again", async () => {
    const [first, second] = [
      await new Simulation(scenarioOf(7), true).run(),
      await new Simulation(scenarioOf(7), true).run(),
    ];
    expect(first.notes.length).toBeGreaterThan(50);
    expect(second).toEqual(first);
  });
});

test("every mutation that `npm run mutate` makes still has its place in the sources", async () => {
  const script = new URL("../../scripts/mutations.mjs", import.meta.url).href;
  const { mutated, mutations } = (await import(script)) as {
    readonly mutations: readonly object[];
    readonly mutated: (mutation: object, read: (file: string) => string) => unknown;
  };
  expect(mutations.length).toBeGreaterThan(10);
  for (const mutation of mutations) expect(() => mutated(mutation, source)).not.toThrow();
});

function source(file: string): string {
  return readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
}
