import { expect, test } from "vitest";
import type { Output } from "../../src/cli/output.ts";
import { ProgramTeller } from "../../src/cli/program-events.ts";
import type { Candidate } from "../../src/concurrency/line.ts";
import type { MemberChange } from "../../src/member/member.ts";

const state = (change: Partial<MemberChange>): MemberChange => ({
  ...{ role: "standby", phase: "outside", position: undefined, leader: undefined, term: undefined },
  ...{ cause: undefined, skipped: 0, ...change },
});
const leader = { id: "a", key: "/merc/2", token: 2n, revision: 2n } as Candidate;
const behindA = state({ phase: "waiting", position: 1, leader });

test.each<[string, readonly MemberChange[], readonly string[]]>([
  [
    "leaves says nothing of a leader whom it hears of no more",
    [state({ cause: "resigned", leader }), state({ cause: "resigned" })],
    ["left the line"],
  ],
  [
    "loses its place says why, and whom it sees",
    [state({ cause: "lease-gone", leader }), state({ cause: "lease-gone" })],
    ["lost its place in line: lease-gone", "nobody is known to lead"],
  ],
  [
    "comes back first in line does not say that it leads before it does",
    [state({ cause: "key-gone" }), state({ leader: { ...leader, id: "b", token: 3n } }), state({})],
    ["lost its place in line: key-gone"],
  ],
  [
    "finds another of its name leading does not say that nobody is known to",
    [state({ cause: "key-gone", leader }), state({ cause: "key-gone", leader: { ...leader, id: "b" } })],
    ["lost its place in line: key-gone"],
  ],
  ["hears nothing of etcd", [{ ...behindA, leader: undefined }], ["nobody is known to lead"]],
])("a supervisor that stands by and %s", (_title, changes, said) => {
  const lines: string[] = [];
  const output = { say: (line: string) => lines.push(line) } as unknown as Output;
  const teller = new ProgramTeller(output, false, { election: "/merc", id: "b" });
  for (const change of [behindA, ...changes]) teller.tell({ on: "member", change });
  expect(lines.slice(1)).toEqual(said.map((line) => `succession run: ${line}`));
});
