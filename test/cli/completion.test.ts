import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { completionScript } from "../../src/cli/completion.ts";
import { commands } from "../../src/cli/run.ts";

const shells = ["bash", "zsh", "fish"] as const;
type Shell = (typeof shells)[number];
const usable = shells.filter((shell) => spawnSync(shell, ["-c", "true"]).status === 0);
for (const shell of shells.filter((each) => !usable.includes(each)))
  process.stderr.write(`*** NOT TESTED HERE: completion in ${shell}; there is none\n`);

/** A command line that somebody types, and what Tab makes of it. */
const cases: readonly (readonly [typed: string, completed: string])[] = [
  ["succession ru", "succession run"],
  ["succession switch", "succession switchover"],
  ["succession help pau", "succession help pause"],
  ["succession completion zs", "succession completion zsh"],
  ["succession run /m --containm", "succession run /m --containment"],
  ["succession run /m --containment nam", "succession run /m --containment namespace"],
  ["succession run /m --containment=nam", "succession run /m --containment=namespace"],
  ["succession run --ttl 5 /m --restart on-", "succession run --ttl 5 /m --restart on-failure"],
  ["succession switchover /m --password-f", "succession switchover /m --password-file"],
  ["succession status --cacert my-c", "succession status --cacert my-certificate.pem"],
  // Not a flag of that command, not a value that is known, nothing that stands where another word does.
  ["succession status --role-f", "succession status --role-f"],
  ["succession run /m --ttl my-c", "succession run /m --ttl my-c"],
  ["succession run ru", "succession run ru"],
  // What follows -- is another command line.
  ["succession run /m --grace 1 -- my-own-p", "succession run /m --grace 1 -- my-own-program"],
  ["succession run /m -- my-own-program my-c", "succession run /m -- my-own-program my-certificate.pem"],
  ["succession run /m -- my-own-program --gra", "succession run /m -- my-own-program --gra"],
];
const typed = cases.map(([line]) => line);

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "succession-completion-"));
  writeFileSync(join(folder, "my-certificate.pem"), "");
  writeFileSync(join(folder, "my-own-program"), "#!/bin/sh\n", { mode: 0o755 });
  for (const shell of usable)
    writeFileSync(join(folder, `script.${shell}`), await completionScript(shell, commands));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What each shell makes of all the lines, in one run of it. */
const pressTab: Readonly<Record<Shell, () => readonly string[]>> = {
  // readline splits words at = as well, and completes what a single offer completes.
  bash: () =>
    offers("bash", "source script.bash", (line) => [
      `COMP_WORDS=(${line.replaceAll("=", " = ")}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _succession`,
      `printf '%s\\n' "\${COMPREPLY[@]}"`,
    ]).map((offered, at) => completed(typed[at] ?? "", /[^\s=]*$/, offered)),
  fish: () =>
    offers("fish", "source script.fish", (line) => [
      `complete -C '${line}' | string replace -r '\\t.*' ''`,
    ]).map((offered, at) => completed(typed[at] ?? "", /\S*$/, offered)),
  // In a terminal of its own, where a key prints the line and clears it.
  zsh: () => {
    const setup =
      "PS1=; setopt no_beep no_auto_list no_auto_menu; autoload -Uz compinit; compinit -u -D; source script.zsh; " +
      "show() { print -r -- \"<$BUFFER>\"; BUFFER=; }; zle -N show; bindkey ^X show; print '<'begun'>'";
    const script = [
      ...["zmodload zsh/zpty", "zpty terminal zsh -f -i", `zpty -w terminal ${quoted(setup)}`],
      "zpty -r terminal heard '*<begun>*'",
      ...typed.flatMap((line) => [
        `zpty -w -n terminal ${quoted(line)}$'\\t\\x18'`,
        "zpty -r terminal heard '*<succession*>*'; print -r -- $heard",
      ]),
      "zpty -d terminal",
    ];
    return [...run("zsh", script.join("\n")).matchAll(/<(succession[^>]*)>/g)].map(([, line = ""]) =>
      line.replace(/[ =]$/, ""),
    );
  },
};

function offers(shell: Shell, setup: string, ask: (line: string) => readonly string[]): readonly string[][] {
  const script = [setup, ...typed.flatMap((line) => [...ask(line), "echo ---"])].join("\n");
  const parts = run(shell, script).split("---\n").slice(0, -1);
  return parts.map((part) => part.split("\n").filter((line) => line !== ""));
}

function completed(line: string, word: RegExp, offered: readonly string[]): string {
  return offered.length === 1 ? line.replace(word, offered[0] ?? "") : line;
}

function run(shell: Shell, script: string): string {
  const { PATH: path = "" } = process.env;
  const { stdout, stderr } = spawnSync(shell, ["-c", script], {
    ...{ cwd: folder, encoding: "utf8", timeout: 40_000 },
    env: { HOME: folder, TERM: "xterm", PATH: `${folder}${delimiter}${path}` },
  });
  expect(stderr).toBe("");
  return stdout;
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

describe.each(usable)("%s", (shell) => {
  test("completes commands, flags, their values, files and the command line of run, and nothing else", () => {
    expect(pressTab[shell]()).toEqual(cases.map(([, line]) => line));
  });
});
