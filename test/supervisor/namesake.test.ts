import { describe, expect, test } from "vitest";
import type { Candidate } from "../../src/concurrency/line.ts";
import { Member } from "../../src/member/member.ts";
import { joinAlone } from "../../src/supervisor/namesake.ts";
import { election } from "../member/world.ts";
import { Stage } from "../steering/stage.ts";

/** Supervisors of one id that all begin now; each of the promises resolves when that one stays in line. */
function beginAtOnce(stage: Stage, count: number, onFound: (candidate: Candidate) => void = () => {}) {
  return Array.from({ length: count }, () => {
    const network = stage.network();
    const etcd = network.client();
    const { signal } = new AbortController();
    return joinAlone(() => Member.join(stage.options(network, "a")), "a", {
      etcd,
      election,
      signal,
      onFound,
    });
  });
}

describe("supervisors of the same id that start at the same moment", () => {
  test.each([2, 5])("%i: exactly one stands, the others wait, and each has its turn", async (count) => {
    const stage = new Stage();
    // All of them would wait in line, and each would see the others there.
    const x = await stage.join("x");
    const standing: Member[] = [];
    for (const joined of beginAtOnce(stage, count)) void joined.then((member) => standing.push(member));
    for (let turn = 1; turn <= count; turn++) {
      await stage.advance(10_000);
      expect(standing).toHaveLength(turn);
      expect(stage.line).toEqual(["x", "a"]);
      await stage.until((standing.at(-1) as Member).leave());
    }
    await stage.end({ x });
  });

  test("refuse all but one, where that is asked for", async () => {
    const stage = new Stage();
    const refuse = ({ id }: Candidate): void => {
      throw new Error(`${id} stands already`);
    };
    const joined = beginAtOnce(stage, 3, refuse);
    const settled = await stage.until(Promise.allSettled(joined));
    expect(settled.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected", "rejected"]);
    expect(stage.line).toEqual(["a"]);
  });
});
