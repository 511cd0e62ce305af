import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { faults, round } from "./faults.ts";
import { containments, Stage, type Store, startStore } from "./stage.ts";

let store: Store;
beforeAll(async () => {
  store = await startStore();
});
afterAll(() => store?.close());

describe.concurrent("no program acts beside its successor", () => {
  test.each(containments)(
    "whatever happens to the leader, though the program ignores signals and detaches; contained by %s",
    async (containment) => {
      const election = `/exclusion-${containment}`;
      await using stage = await Stage.open({ store, election, containment, mode: "detached" });
      for (const fault of faults) await round(stage, fault);
      // Each leader's program began to act.
      expect(new Set(stage.acts).size).toBeGreaterThan(faults.length);
    },
    200_000,
  );
});

describe("a program of 50 short-lived processes", () => {
  test.each(containments)(
    "is gone before its successor acts; contained by %s",
    async (containment) => {
      await using stage = await Stage.open({
        ...{ store, containment },
        election: `/bomb-${containment}`,
        mode: "bomb",
      });
      await stage.acting();
      await stage.swarming();
      await round(stage, faults[1] as (typeof faults)[number]);
    },
    200_000,
  );
});
