import { describe, expect, test } from "vitest";
import { parseArguments } from "../../src/cli/arguments.ts";
import { programSettingsOf } from "../../src/cli/program-settings.ts";
import { runProgram } from "../../src/cli/run-program.ts";
import { execute } from "../cli/succession.ts";

const timeoutMs = 180_000;

describe.concurrent("what cannot be run is said in one line", () => {
  test.each<[string, readonly string[], number, RegExp]>([
    ["no command", ["/merc"], 2, /COMMAND is missing; usage: succession run ELECTION/],
    ["no election", ["--", "true"], 2, /ELECTION is missing/],
    ["a command without --", ["/merc", "true"], 2, /unexpected argument "true"; usage/],
    [
      "an unknown flag",
      ["/merc", "--graze", "1", "--", "true"],
      2,
      /unknown flag --graze, did you mean --grace\?/,
    ],
    ["too much grace", ["/merc", "--grace", "5", "--", "true"], 2, /--grace must be from 0 to 4.5 seconds/],
    [
      "an unknown policy",
      ["/merc", "--restart", "x", "--", "true"],
      2,
      /--restart must be one of never, on-f/,
    ],
    ["no such containment", ["/merc", "--containment", "x", "--", "true"], 2, /--containment must be one of/],
    ["no such signal", ["/merc", "--lead-signal", "x", "--", "true"], 2, /--lead-signal must be a signal/],
    ["a bad URL", ["/merc", "--health-http", "x", "--", "true"], 2, /--health-http must be a URL/],
    [
      "a bad descriptor",
      ["/merc", "--heartbeat-fd", "2", "--", "true"],
      2,
      /--heartbeat-fd must be .* 3 to 8/,
    ],
    [
      "no time left for the hook",
      ["/merc", "--on-standby", "x", "--on-standby-timeout", "5", "--", "true"],
      2,
      /--on-standby-timeout must be at most 4.5 seconds/,
    ],
    [
      "too much grace beside the hook",
      ["/merc", "--on-standby", "x", "--grace", "4", "--", "true"],
      2,
      /--grace must be from 0 to 3.5 seconds .* and 1 s for --on-standby/,
    ],
    [
      "a socket with too long a name",
      ["/merc", "--api", `/tmp/${"x".repeat(103)}`, "--", "true"],
      2,
      /--api: the path of a socket has 107 bytes at most/,
    ],
    [
      "no place for the API",
      ["/merc", "--api", "x", "--", "true"],
      2,
      /--api must be auto, a path with a \//,
    ],
    [
      "a token that is none",
      ["/merc", "--api", "0", "--api-token-file", "/dev/null", "--", "true"],
      2,
      /--api-token-file must hold 16 to 1024 visible ASCII characters/,
    ],
    [
      "a command that is not there",
      ["/merc", "--", "no-such-command"],
      127,
      /no-such-command: command not found/,
    ],
    ["a path that is not there", ["/merc", "--", "/no/such"], 127, /\/no\/such: command not found/],
    ["a file that is no program", ["/merc", "--", "/etc/passwd"], 126, /\/etc\/passwd: not executable/],
    ["a folder", ["/merc", "--", "/etc"], 126, /\/etc: not executable/],
  ])(
    "%s",
    async (_title, args, exitCode, says) => {
      const { code, stdout, stderr } = await execute(["run", ...args]);
      expect({ code, stdout, lines: stderr.split("\n").length }).toEqual({
        code: exitCode,
        stdout: "",
        lines: 1,
      });
      expect(stderr).toMatch(/^succession run: /);
      expect(stderr).toMatch(says);
    },
    timeoutMs,
  );
});

test.each<[string, readonly string[], RegExp]>([
  [
    "a signal that nobody can handle",
    ["--lead-signal", "KILL"],
    /--lead-signal must be a signal that .* handle/,
  ],
  ["a check that is always well", ["--health-cmd", " "], /--health-cmd must be a shell command, got " "/],
  ["a hook that does nothing", ["--on-lead", ""], /--on-lead must be a shell command, got ""/],
  ["an address that nobody can read", ["--address", ":80"], /--address must be HOST:PORT, got ":80"/],
])("%s is refused", (_title, flags, says) => {
  const args = parseArguments(["/merc", ...flags, "--", "true"], runProgram).split.own;
  expect(() => programSettingsOf(args, {}, 10)).toThrow(says);
});
