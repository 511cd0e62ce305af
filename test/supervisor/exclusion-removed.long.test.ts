import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { containments, Stage, type Store, startStore } from "./stage.ts";

const rounds = 30;

let store: Store;
beforeAll(async () => {
  store = await startStore();
});
afterAll(() => store?.close());

/** Old and new leader learn of it by the same event: what is promised is that the old program is killed at once. */
describe.each(["key", "lease"] as const)("when etcd loses a living leader's %s, in 30 rounds", (what) => {
  test.each(containments)(
    "the old program acts no more when its kill is reported; contained by %s",
    async (containment) => {
      const election = `/removed-${what}-${containment}`;
      await using stage = await Stage.open({
        store,
        election,
        containment,
        mode: "detached",
        inOrder: false,
      });
      const overlaps: number[] = [];
      while (overlaps.length < rounds) {
        await stage.standing(2);
        const { leader, token } = await stage.acting();
        const from = leader.child.stderr.split("\n").length - 1;
        // On a busy machine a term may end by itself in this moment.
        if (!(await stage.remove(what, token))) continue;
        await leader.child.waitForError("the program was ended by SIGKILL", 60_000, { from });
        const then = stage.acts.length;
        await stage.acting(token);
        await stage.standing(2);
        expect(stage.acts.slice(then).filter((each) => each <= token)).toEqual([]);
        overlaps.push(stage.overlapOf(token));
      }
      const [least, most] = [Math.min(...overlaps), Math.max(...overlaps)].map((each) => each.toFixed(2));
      process.stdout.write(`${what} removed, ${containment}: overlap from ${least} s to ${most} s\n`);
    },
    rounds * 60_000,
  );
});
