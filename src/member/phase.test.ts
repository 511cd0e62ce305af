import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { causes } from "../errors.ts";
import { next, outside, type Phase, type PhaseEvent, phases } from "./phase.ts";

const waiting: Phase = { at: "waiting", position: 1 };
const promoting: Phase = { at: "promoting", token: 7n };
const leading: Phase = { at: "leading", token: 7n };
const demoting: Phase = { at: "demoting", token: 7n, cause: "deadline" };

describe("a member's phase", () => {
  test.each<[Phase, PhaseEvent, Phase]>([
    [outside, { on: "joined", position: 1 }, waiting],
    [waiting, { on: "moved", position: 0 }, { at: "waiting", position: 0 }],
    [waiting, { on: "elected", token: 7n }, promoting],
    [waiting, { on: "lost", cause: "key-gone" }, outside],
    [promoting, { on: "ready" }, leading],
    [promoting, { on: "lost", cause: "deadline" }, demoting],
    [leading, { on: "lost", cause: "deadline" }, demoting],
    [demoting, { on: "released" }, outside],
  ])("%o, on %o, becomes %o", (from, event, to) => expect(next(from, event)).toEqual(to));

  test.each<[Phase, PhaseEvent]>([
    [outside, { on: "elected", token: 7n }],
    [outside, { on: "ready" }],
    [outside, { on: "released" }],
    [outside, { on: "lost", cause: "deadline" }],
    [waiting, { on: "joined", position: 0 }],
    [waiting, { on: "moved", position: 1 }],
    [waiting, { on: "ready" }],
    [promoting, { on: "elected", token: 8n }],
    [leading, { on: "elected", token: 8n }],
    [leading, { on: "moved", position: 1 }],
    [leading, { on: "released" }],
    [demoting, { on: "ready" }],
    [demoting, { on: "elected", token: 8n }],
    [demoting, { on: "lost", cause: "resigned" }],
  ])("%o is untouched by %o", (from, event) => expect(next(from, event)).toBe(from));

  test("a term that was lost is led again only by a new election", () => {
    const event: fc.Arbitrary<PhaseEvent> = fc.oneof(
      fc.record({ on: fc.constant("joined" as const), position: fc.nat(5) }),
      fc.record({ on: fc.constant("moved" as const), position: fc.nat(5) }),
      fc.record({ on: fc.constant("elected" as const), token: fc.bigInt(1n, 9n) }),
      fc.constant({ on: "ready" as const }),
      fc.record({ on: fc.constant("lost" as const), cause: fc.constantFrom(...causes) }),
      fc.constant({ on: "released" as const }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        let phase: Phase = outside;
        let mayLead = false;
        for (const each of events) {
          phase = next(phase, each);
          expect(phases).toContain(phase.at);
          if (each.on === "elected" && phase.at === "promoting") mayLead = true;
          if (each.on === "lost") mayLead = false;
          if (phase.at === "leading") expect(mayLead).toBe(true);
        }
      }),
    );
  });
});
