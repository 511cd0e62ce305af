import { expect, test } from "vitest";
import { runSuccession } from "./succession.ts";

const commands = [
  ...["demo", "dev", "elect", "gateway", "handover", "history", "pause", "resume", "status", "watch"],
];

test("help lists every command and fits into 80 columns", async () => {
  const { code, stdout } = await runSuccession(["--help"]);
  expect(code).toBe(0);
  for (const command of commands) expect(stdout).toMatch(new RegExp(`^  ${command} +\\w`, "m"));
  expect(stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
});

test.each(commands)("the help of %s has flags and examples, by either way of asking", async (command) => {
  const [one, other] = await Promise.all([
    runSuccession([command, "--help", "whatever"]),
    runSuccession(["help", command]),
  ]);
  expect(one).toEqual({ code: 0, stderr: "", stdout: other.stdout });
  expect(one.stdout).toMatch(new RegExp(`^Usage: succession ${command}`));
  expect(one.stdout).toContain("--json");
  expect(one.stdout).toMatch(new RegExp(`^  succession ${command}`, "m"));
  expect(one.stdout.split("\n").filter((line) => line.length > 80)).toEqual([]);
});

test("the version is the package's", async () => {
  const { stdout } = await runSuccession(["--version"]);
  expect(stdout).toMatch(/^\d+\.\d+\.\d+/);
});
