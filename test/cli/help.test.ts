import { expect, test } from "vitest";
import { execute } from "./succession.ts";

const commands = [
  ...["completion", "dashboard", "demo", "dev", "doctor", "elect", "gateway", "handover", "history", "pause"],
  ...["resume", "run", "status", "watch"],
];

test("help lists every command and fits into 80 columns", async () => {
  const { code, stdout } = await execute(["--help"]);
  expect(code).toBe(0);
  for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} +\\w`, "m"));
  expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
});

test.each(commands)("the help of %s has flags and examples, by either way of asking", async (command) => {
  const [one, other] = await Promise.all([
    execute([command, "--help", "whatever"]),
    execute(["help", command]),
  ]);
  expect(one).toEqual({ code: 0, stderr: "", stdout: other.stdout });
  expect(one.stdout).toMatch(new RegExp(`^Usage: succession ${command}`));
  expect(one.stdout).toContain("--json");
  expect(one.stdout).toMatch(new RegExp(`^  succession ${command}`, "m"));
  expect(one.stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
});

test("the version is the package's", async () => {
  const { stdout } = await execute(["--version"]);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+/);
});
