import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { parseArguments } from "../../src/cli/arguments.ts";
import { etcdFlags } from "../../src/cli/command.ts";
import { connectionOf, ttlSecondsOf } from "../../src/cli/connection.ts";

const folder = mkdtempSync(join(tmpdir(), "succession-connection-"));
const passwordFile = join(folder, "password");
writeFileSync(passwordFile, "from file\n");
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const flags = { ...etcdFlags, ttl: { value: "SECONDS", help: "" } };
const connect = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  connectionOf(parseArguments(args, { flags }), env);

test("a setting comes from the flag, else from SUCCESSION_*, else from ETCDCTL_*, else it is the default", () => {
  const env = { ETCDCTL_ENDPOINTS: "c:3", SUCCESSION_ENDPOINTS: "b:2" };
  expect(connect(["--endpoints", "a:1"], env).endpoints).toEqual(["a:1"]);
  expect(connect([], env).endpoints).toEqual(["b:2"]);
  expect(connect([], { ...env, SUCCESSION_ENDPOINTS: "" }).endpoints).toEqual(["c:3"]);
  expect(connect([]).endpoints).toEqual(["127.0.0.1:2379"]);
});

test("endpoints are a list, or a flag repeated", () => {
  expect(connect(["--endpoints", "a:1, b:2", "--endpoints=c:3"]).endpoints).toEqual(["a:1", "b:2", "c:3"]);
});

test.each<[string, readonly string[], NodeJS.ProcessEnv, object]>([
  ["etcdctl's name:password", [], { ETCDCTL_USER: "root:a:b" }, { user: "root", password: "a:b" }],
  [
    "etcdctl's password apart",
    [],
    { ETCDCTL_USER: "root", ETCDCTL_PASSWORD: "x" },
    { user: "root", password: "x" },
  ],
  [
    "our own before etcdctl's",
    ["--user", "me"],
    { SUCCESSION_PASSWORD: "y", ETCDCTL_PASSWORD: "x" },
    { user: "me", password: "y" },
  ],
  [
    "a file before the environment",
    ["--user", "me", "--password-file", passwordFile],
    { SUCCESSION_PASSWORD: "y" },
    { user: "me", password: "from file" },
  ],
  ["a password without a user counts for nothing", [], { ETCDCTL_PASSWORD: "x" }, {}],
])("credentials: %s", (_title, args, env, expected) => {
  const { endpoints: _endpoints, ...rest } = connect(args, env);
  expect(rest).toEqual(expected);
});

test("the TTL may come from the environment", () => {
  const args = parseArguments([], { flags });
  expect(ttlSecondsOf(args, { SUCCESSION_TTL: "7" }, 10)).toBe(7);
  expect(() => ttlSecondsOf(args, { SUCCESSION_TTL: "0" }, 10)).toThrow("SUCCESSION_TTL must be");
});
