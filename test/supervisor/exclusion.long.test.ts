import { afterAll, beforeAll, describe, test } from "vitest";
import { faults, round } from "./faults.ts";
import { type ActorMode, containments, Stage, type Store, startStore } from "./stage.ts";

const rounds = 30;
const modes: readonly ActorMode[] = ["detached", "bomb"];

let store: Store;
beforeAll(async () => {
  store = await startStore();
});
afterAll(() => store?.close());

describe.each(modes)("in 30 rounds no program of this kind acts beside its successor: %s", (mode) => {
  describe.each(faults)("when $title", (fault) => {
    test.each(containments)(
      "contained by %s",
      async (containment) => {
        const election = `/rounds-${mode}-${containment}-${faults.indexOf(fault)}`;
        await using stage = await Stage.open({ store, election, containment, mode });
        for (let count = 0; count < rounds; count++) await round(stage, fault);
      },
      rounds * 60_000,
    );
  });
});
