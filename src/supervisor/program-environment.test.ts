import { expect, test } from "vitest";
import { hookVariable, marked, markVariable } from "./enclosure.ts";
import { programEnvironment, withoutTold } from "./program-environment.ts";

const base = { PATH: "/bin", SUCCESSION_GRACE: "2", SUCCESSION_ID: "a", SUCCESSION_API: "/run/a" };
const told = { role: "leader", election: "/merc", id: "b", token: 7n } as const;

test("a program is told what its supervisor knows, and of what there is not it hears nothing", () => {
  const nothing = { heartbeatFd: undefined, roleFile: undefined, api: undefined };
  const env = programEnvironment({ PATH: "/bin" }, { ...told, ...nothing, roleFile: "/run/role" });
  expect(env).toEqual({
    ...{ PATH: "/bin", SUCCESSION_ROLE: "leader", SUCCESSION_ELECTION: "/merc", SUCCESSION_ID: "b" },
    ...{ SUCCESSION_TOKEN: "7", SUCCESSION_ROLE_FILE: "/run/role" },
  });
});

test.each([markVariable, hookVariable])("what an outer supervisor told by %s is no setting", (variable) => {
  expect(withoutTold(base)).toEqual(base);
  const inner = { PATH: "/bin", SUCCESSION_GRACE: "2", [variable]: "x" };
  expect(withoutTold({ ...base, SUCCESSION_CAUSE: "", [variable]: "x" })).toEqual(inner);
});

test("marks of outer runs stay beside the own one", () => {
  const outer = marked(base, markVariable, "one");
  expect(marked(outer, markVariable, "two")).toEqual({ ...base, [markVariable]: "one two" });
});
