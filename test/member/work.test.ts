import { describe, expect, test } from "vitest";
import type { Term } from "../../src/concurrency/term.ts";
import type { Logger } from "../../src/log.ts";
import { Member } from "../../src/member/member.ts";
import { collect, gate, notebook, World } from "./world.ts";

const untilTold = ({ signal }: Term): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
  });

describe("the work of a term", () => {
  test("runs with the term that the member has", async () => {
    const world = new World();
    const terms: Term[] = [];
    const { member } = await world.join("a", {
      lead: (term) => {
        terms.push(term);
        return untilTold(term);
      },
    });
    expect(terms).toEqual([member.term]);
    expect(terms[0]?.token).toBe(member.leader?.token);
    await member.leave();
  });

  test("may name the member that is being joined", async () => {
    const world = new World();
    const roles: string[] = [];
    const network = world.network();
    const joined = async (): Promise<Member> => {
      const member: Member = await Member.join(
        world.options(network, "a", {
          lead: (term) => {
            roles.push(member.role);
            return untilTold(term);
          },
        }),
      );
      return member;
    };
    const member = await joined();
    await world.settle();
    expect([roles, member.phase]).toEqual([["leader"], "leading"]);
    await member.leave();
  });

  test("never begins on a term that ended while others were told of it", async () => {
    const world = new World();
    let led = 0;
    const { logger } = notebook();
    const slow: Logger = {
      ...logger,
      info: (fields) => {
        // A log line that takes longer than the term has.
        if ("phase" in fields && (fields.phase as { at: string }).at === "leading" && led === 0)
          world.clock.jump(60_000);
      },
    };
    const { member } = await world.join("a", {
      logger: slow,
      lead: (term) => {
        led += term.signal.aborted ? 100 : 1;
        return untilTold(term);
      },
    });
    expect([led, member.role]).toEqual([0, "standby"]);
    await member.leave();
  });

  test("that returns resigns as finished, and stands again behind the others after a pause", async () => {
    const world = new World();
    const done = gate();
    const { member: a } = await world.join("a", { lead: () => done.opened });
    const { member: b } = await world.join("b");
    const changes = collect(a);
    done.open();
    await world.settle();
    expect([a.role, a.phase, b.role, world.line]).toEqual(["standby", "outside", "leader", ["b"]]);
    expect(changes.find(({ phase }) => phase === "demoting")).toMatchObject({ cause: "finished" });
    await world.advance(1_000);
    expect(world.line).toEqual(["b", "a"]);
    await Promise.all([a.leave(), b.leave()]);
  });

  test.each<[string, () => unknown]>([
    [
      "throws at once",
      () => {
        throw new Error("no port");
      },
    ],
    [
      "rejects later",
      async () => {
        await Promise.resolve();
        throw new Error("no port");
      },
    ],
    [
      "rejects with an AbortError that nobody asked for",
      () => Promise.reject(new DOMException("no port", "AbortError")),
    ],
  ])(
    "that %s resigns as failed, is reported by name, and tries again ever more rarely",
    async (_title, lead) => {
      const world = new World();
      const { logger, said } = notebook();
      let calls = 0;
      const { member } = await world.join("a", {
        logger,
        lead: () => {
          calls++;
          return lead();
        },
      });
      const changes = collect(member);
      await world.settle();
      expect(said.find(({ message }) => message === "lead threw")).toMatchObject({
        level: "error",
        fields: { id: "a", callback: "lead", error: { message: "no port" } },
      });
      await world.advance(120_000);
      expect(changes.find(({ phase }) => phase === "demoting")).toMatchObject({ cause: "failed" });
      // 1 s, 2 s, 4 s, … 30 s, each half to whole.
      expect(calls).toBeGreaterThanOrEqual(6);
      expect(calls).toBeLessThanOrEqual(13);
      await member.leave();
      expect([world.keys, world.leases, world.pending]).toEqual([[], [], 0]);
    },
  );

  test("that stops by throwing its signal's reason is no failure", async () => {
    const world = new World();
    const { logger, said } = notebook();
    const { member } = await world.join("a", {
      logger,
      lead: async (term) => {
        await untilTold(term);
        term.signal.throwIfAborted();
      },
    });
    await member.leave();
    expect(said.filter(({ level }) => level === "error")).toEqual([]);
  });

  test("may leave the election itself", async () => {
    const world = new World();
    const standing: { leave?: () => void } = {};
    const { member } = await world.join("a", {
      lead: (term) => {
        standing.leave?.();
        return untilTold(term);
      },
    });
    standing.leave = () => void member.leave();
    world.deleteLine();
    await world.advance(3_000);
    expect([member.phase, world.keys, world.leases, world.pending]).toEqual(["outside", [], [], 0]);
  });

  test("never runs twice in one process, and there is no key in the line while an earlier one has not settled", async () => {
    const world = new World();
    const stop = gate();
    let running = 0;
    let most = 0;
    const lead = async (term: Term): Promise<void> => {
      most = Math.max(most, ++running);
      await stop.opened;
      await untilTold(term);
      running--;
    };
    const { member } = await world.join("a", { lead });
    world.deleteLine();
    await world.advance(300_000);
    expect([world.keys, world.leases, member.phase, running]).toEqual([[], [], "demoting", 1]);
    stop.open();
    await world.advance(1_000);
    expect([world.line, most]).toEqual([["a"], 1]);
    await member.leave();
  });
});

describe("prepare", () => {
  test("runs before the role says leader", async () => {
    const world = new World();
    const ready = gate();
    const led: bigint[] = [];
    const { member } = await world.join("a", {
      prepare: () => ready.opened,
      lead: (term) => {
        led.push(term.token);
        return untilTold(term);
      },
    });
    await world.advance(30_000);
    expect([member.phase, member.role, member.term, led]).toEqual(["promoting", "standby", undefined, []]);
    ready.open();
    await world.settle();
    expect([member.phase, member.role, led]).toEqual(["leading", "leader", [member.term?.token]]);
    await member.leave();
  });

  test("that throws gives the lead up as failed, and lead is not called", async () => {
    const world = new World();
    const { logger, said } = notebook();
    let led = 0;
    const { member: a } = await world.join("a", {
      logger,
      prepare: () => {
        throw new Error("cold");
      },
      lead: () => {
        led++;
      },
    });
    const { member: b } = await world.join("b");
    expect([b.role, led]).toEqual(["leader", 0]);
    expect(said.find(({ message }) => message === "prepare threw")).toMatchObject({ level: "error" });
    await Promise.all([a.leave(), b.leave()]);
  });

  test("that hangs is reported, and holds up neither the end of the term nor leaving", async () => {
    const world = new World();
    const { logger, said } = notebook();
    const forever = gate();
    let led = 0;
    const { member: a } = await world.join("a", {
      logger,
      prepare: () => forever.opened,
      lead: () => {
        led++;
      },
    });
    const { member: b } = await world.join("b");
    await world.advance(10_000);
    expect(said.find(({ message }) => message.startsWith("prepare still runs"))).toMatchObject({
      level: "warn",
      fields: { id: "a", runningMs: 10_000 },
    });
    expect(b.role).toBe("standby");
    const leaving = a.leave();
    await world.advance(3_000);
    await leaving;
    await world.advance(10_000);
    expect([b.role, world.line]).toEqual(["leader", ["b"]]);
    // What nobody waits for any more is not reported any more.
    const reports = said.filter(({ message }) => message.startsWith("prepare still runs")).length;
    await world.advance(100_000);
    expect(said.filter(({ message }) => message.startsWith("prepare still runs"))).toHaveLength(reports);
    forever.open();
    await world.settle();
    expect([led, a.phase]).toEqual([0, "outside"]);
    await b.leave();
    expect(world.pending).toBe(0);
  });

  test("that outlives its term keeps the member out of the line until it settles", async () => {
    const world = new World();
    const ready = gate();
    const { member } = await world.join("a", { prepare: () => ready.opened });
    world.deleteLine();
    await world.advance(300_000);
    expect([world.keys, world.leases, member.phase]).toEqual([[], [], "demoting"]);
    ready.open();
    await world.advance(1_000);
    expect([world.line, member.role]).toEqual([["a"], "leader"]);
    await member.leave();
  });

  test("that takes longer than its term lives is not followed by lead on the dead term", async () => {
    const world = new World();
    const ready = gate();
    const tokens: bigint[] = [];
    const { member } = await world.join("a", {
      prepare: () => ready.opened,
      lead: (term) => {
        tokens.push(term.token);
        return untilTold(term);
      },
    });
    const first = member.leader?.token;
    world.deleteLine();
    ready.open();
    await world.advance(5_000);
    expect(tokens).toEqual([member.term?.token]);
    expect(tokens[0]).toBeGreaterThan(first as bigint);
    await member.leave();
  });

  test("done after the deadline, while every timer is late, ends the term instead of leaving it undone", async () => {
    const world = new World();
    const ready = gate();
    let led = 0;
    const { member } = await world.join("a", {
      prepare: () => ready.opened,
      lead: (term) => {
        led++;
        return untilTold(term);
      },
    });
    const changes = collect(member);
    await world.settle();
    world.clock.jump(11_000);
    ready.open();
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    expect([member.role, led]).toEqual(["standby", 0]);
    await world.advance(5_000);
    expect(changes.some(({ cause }) => cause === "deadline")).toBe(true);
    expect([member.role, led]).toEqual(["leader", 1]);
    await member.leave();
  });
});

test("a logger that throws, or lacks a level, hurts nobody", async () => {
  const world = new World();
  const broken: Logger = {
    debug: () => {
      throw new Error("disk full");
    },
    info: () => {
      throw new Error("disk full");
    },
    warn: () => {
      throw new Error("disk full");
    },
    error: () => {
      throw new Error("disk full");
    },
  };
  const { member: a } = await world.join("a", {
    logger: broken,
    lead: () => {
      throw new Error("no port");
    },
  });
  const { member: b } = await world.join("b", { logger: { info: () => {} } as unknown as Logger });
  await world.advance(10_000);
  expect([b.role, a.role]).toEqual(["leader", "standby"]);
  await Promise.all([a.leave(), b.leave()]);
  expect([world.keys, world.leases, world.pending]).toEqual([[], [], 0]);
});

test("work is not begun for a term that a logger's own doing has ended", async () => {
  const world = new World();
  const { logger } = notebook();
  let begun = 0;
  const { member: first } = await world.join("first");
  const { member } = await world.join("a", {
    logger: {
      ...logger,
      info: (_fields, message) => {
        if (message === "waiting -> promoting") void member.leave();
      },
    },
    prepare: () => {
      begun++;
    },
  });
  await first.leave();
  await world.advance(3_000);
  expect([begun, member.phase, world.keys, world.leases]).toEqual([0, "outside", [], []]);
});
