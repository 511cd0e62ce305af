import { describe, expect, test } from "vitest";
import { toBytes } from "../../src/etcd/bytes.ts";
import { Member } from "../../src/member/member.ts";
import { Namesakes } from "../../src/supervisor/namesake.ts";
import { Stage } from "../steering/stage.ts";
import type { MemoryNetwork } from "../support/memory-transport.ts";

/** A supervisor's member of the id "a", which may not stand beside another of that id. */
class Supervisor {
  readonly network: MemoryNetwork;
  readonly joined: Promise<Member>;
  /** Once it has joined. */
  member: Member | undefined;
  /** Keys of others that it met. */
  readonly met: string[] = [];

  constructor(stage: Stage, refuse = false) {
    this.network = stage.network();
    const leaving = new AbortController();
    const admission = new Namesakes("a", ({ key }) => {
      this.met.push(key);
      if (!refuse) return;
      leaving.abort(new Error("a stands already"));
      void this.member?.leave();
    });
    const options = stage.options(this.network, "a", { admission, signal: leaving.signal });
    this.joined = Member.join(options);
    void this.joined.then(
      (member) => {
        this.member = member;
      },
      () => {},
    );
  }

  get stands(): boolean {
    return this.member !== undefined && this.member.phase !== "outside";
  }
}

function beginAtOnce(stage: Stage, count: number, refuse = false): Supervisor[] {
  return Array.from({ length: count }, () => new Supervisor(stage, refuse));
}

const standing = (all: readonly Supervisor[]): Supervisor[] => all.filter(({ stands }) => stands);

describe("supervisors of the same id that start at the same moment", () => {
  test.each([2, 5])("%i: exactly one stands, the others wait, and each has its turn", async (count) => {
    const stage = new Stage();
    // All of them would wait in line, and each would see the others there.
    const x = await stage.join("x");
    const all = beginAtOnce(stage, count);
    const had = new Set<Supervisor>();
    for (let turn = 1; turn <= count; turn++) {
      await stage.advance(10_000);
      const [now, ...more] = standing(all) as [Supervisor];
      expect([had.has(now), more, stage.line]).toEqual([false, [], ["x", "a"]]);
      had.add(now);
      await stage.until((now.member as Member).leave());
    }
    await stage.end({ x });
  });

  test("refuse all but one, where that is asked for", async () => {
    const stage = new Stage();
    const joined = beginAtOnce(stage, 3, true).map((each) => each.joined);
    const settled = await stage.until(Promise.allSettled(joined));
    expect(settled.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected", "rejected"]);
    expect(stage.line).toEqual(["a"]);
  });
});

/** Removes the first key of this id, as an operator may, or an end of its lease. */
function remove(stage: Stage, { member }: Supervisor, what: "key" | "lease"): void {
  const own = member?.line.find(({ id }) => id === "a");
  if (own === undefined) throw new Error("does not stand");
  if (what === "key") stage.store.deleteRange({ key: toBytes(own.key) });
  else stage.store.leaseRevoke({ ID: own.leaseId });
}

describe("a supervisor that lost its place while another of its id waits", () => {
  test.each(["key", "lease"] as const)(
    "by its %s: never do two stand, and none waits for a waiting one",
    async (what) => {
      const stage = new Stage();
      const x = await stage.join("x");
      const all = beginAtOnce(stage, 3);
      for (let round = 0; round < 5; round++) {
        await stage.advance(10_000);
        expect([standing(all).length, stage.line]).toEqual([1, ["x", "a"]]);
        remove(stage, standing(all)[0] as Supervisor, what);
        for (let ms = 0; ms < 3_000; ms += 50) {
          await stage.advance(50);
          expect(standing(all).length).toBeLessThanOrEqual(1);
        }
      }
      await stage.advance(10_000);
      expect(stage.line).toEqual(["x", "a"]);
      for (const { member } of all) if (member !== undefined) await stage.until(member.leave());
      await stage.end({ x });
    },
  );

  test("by an outage: it comes back behind whoever took its name, saying so", async () => {
    const stage = new Stage();
    const first = new Supervisor(stage);
    await stage.advance(1_000);
    const second = new Supervisor(stage);
    await stage.advance(1_000);
    first.network.silent = true;
    await stage.advance(30_000);
    expect([first.stands, second.stands]).toEqual([false, true]);
    first.network.heal();
    await stage.advance(30_000);
    expect([stage.line, first.stands, second.stands]).toEqual([["a"], false, true]);
    expect(first.met.at(-1)).toBe(second.member?.leader?.key);
    await stage.until((second.member as Member).leave());
    await stage.advance(1_000);
    expect([stage.line, first.stands]).toEqual([["a"], true]);
    await stage.until((first.member as Member).leave());
  });

  test("leaves for good, where it refuses to wait", async () => {
    const stage = new Stage();
    const first = new Supervisor(stage, true);
    await stage.advance(1_000);
    const second = new Supervisor(stage);
    await stage.advance(1_000);
    remove(stage, first, "key");
    await stage.advance(10_000);
    expect([stage.line, second.stands, first.met.length]).toEqual([["a"], true, 1]);
    await stage.until((second.member as Member).leave());
    await stage.advance(10_000);
    expect(stage.line).toEqual([]);
  });
});

test("a supervisor does not take an earlier key of its own for another's", async () => {
  const stage = new Stage();
  const alone = new Supervisor(stage, true);
  await stage.advance(1_000);
  // Its key stands on while it cannot be reached to be taken back.
  alone.network.silent = (method) => method === "Txn" || method === "LeaseRevoke";
  await stage.advance(1_000);
  alone.network.silent = true;
  await stage.advance(9_000);
  alone.network.heal();
  await stage.advance(15_000);
  expect([stage.line, alone.met, alone.member?.role]).toEqual([["a"], [], "leader"]);
  await stage.until((alone.member as Member).leave());
});
