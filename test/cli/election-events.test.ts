import { expect, test } from "vitest";
import { eventNames } from "../../src/cli/election-events.ts";
import { printable } from "../../src/cli/output.ts";
import type { Candidate } from "../../src/concurrency/line.ts";
import type { Term } from "../../src/concurrency/term.ts";
import type { MemberChange } from "../../src/member/member.ts";

const candidate = (id: string, token: bigint, revision = token): Candidate => ({
  ...{ id, value: new TextEncoder().encode(id), key: `/merc/${token}`, token, revision, leaseId: token },
});
const state = (change: Partial<MemberChange>): MemberChange => ({
  ...{ role: "standby", phase: "outside", position: undefined, leader: undefined, term: undefined },
  ...{ cause: undefined, skipped: 0, ...change },
});

const outside = state({});
const behindA = state({ phase: "waiting", position: 1, leader: candidate("a", 2n) });
const behindB = state({ phase: "waiting", position: 1, leader: candidate("b", 3n) });
const firstInLine = state({ phase: "waiting", position: 0 });
const leading = state({ role: "leader", phase: "leading", term: { token: 9n } as Term });
const deposed = state({ phase: "demoting", cause: "deadline" });

test.each<[string, MemberChange | undefined, MemberChange, readonly string[]]>([
  ["joins behind another", undefined, behindA, ["candidate", "standby"]],
  ["joins alone", outside, firstInLine, ["candidate"]],
  ["joins and leads before anybody looked", undefined, leading, ["candidate", "leader"]],
  ["takes over", behindA, leading, ["leader"]],
  ["leads after being first in line", firstInLine, leading, ["leader"]],
  ["goes on leading", leading, leading, []],
  ["loses the lead", leading, deposed, ["standby"]],
  ["is out of the line after that", deposed, outside, []],
  ["comes back", outside, behindA, ["candidate", "standby"]],
  ["loses its place in line", behindA, state({ cause: "key-gone" }), ["standby"]],
  ["sees another leader", behindA, behindB, ["observed"]],
  ["sees a new value", behindA, { ...behindA, leader: candidate("a2", 2n, 5n) }, ["observed"]],
  ["sees no leader", behindA, { ...behindA, leader: undefined }, ["observed"]],
  ["only moves up", behindA, { ...behindA, position: 2 }, []],
])("a member that %s", (_title, before, now, names) => {
  expect(eventNames(before, now)).toEqual(names);
});

test("an id cannot steer the terminal or break a line", () => {
  expect(printable("a\x1b[2J\nb\u202e")).toBe("a\\u{1b}[2J\\u{a}b\\u{202e}");
  expect(printable("dc1:10.0.0.1:8080 ü 中")).toBe("dc1:10.0.0.1:8080 ü 中");
});
