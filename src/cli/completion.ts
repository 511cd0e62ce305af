import { type Command, type CommandEntry, commonFlags, type Flags } from "./command.ts";
import { bashCompletion } from "./completion-bash.ts";
import { fishCompletion } from "./completion-fish.ts";
import { zshCompletion } from "./completion-zsh.ts";
import { UsageError } from "./usage-error.ts";

/** What a shell has to know of a command to complete its arguments. */
export interface CommandWords {
  readonly name: string;
  readonly summary: string;
  readonly flags: Flags;
  /** All that the first argument may be; empty where that cannot be listed. */
  readonly choices: readonly string[];
  /** Whether a command line of its own follows after `--`. */
  readonly runsCommand: boolean;
}

const shells = ["bash", "zsh", "fish"] as const;
type Shell = (typeof shells)[number];
const scripts: Readonly<Record<Shell, (commands: readonly CommandWords[]) => string>> = {
  ...{ bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion },
};

/** The command that tells shells of all commands, itself included. */
export function completionOf(commands: readonly CommandEntry[]): Command {
  return {
    name: "completion",
    usage: [`completion ${shells.join("|")}`],
    about: [
      "Prints a script by which a shell completes commands, flags, their values where these can be listed, files, and the command line after --. It is made from the same tables as the help texts; it asks neither etcd nor this program, so make it anew after an upgrade.",
      [
        "bash  in ~/.bashrc:                    source <(succession completion bash)",
        "zsh   in ~/.zshrc, after compinit:     source <(succession completion zsh)",
        "fish  in ~/.config/fish/config.fish:   succession completion fish | source",
      ].join("\n"),
    ],
    flags: {},
    choices: shells,
    examples: [
      ["completion bash > /etc/bash_completion.d/succession", "for every user of this machine"],
      ["completion zsh > ~/.zfunc/_succession", "for a folder in fpath"],
      ["completion fish > ~/.config/fish/completions/succession.fish", "loaded when it is needed"],
    ],
    run: async ({ arguments: args, output }) => {
      const [wanted] = args.take(["SHELL"]);
      const shell = shells.find((each) => each === wanted);
      if (shell === undefined) {
        throw new UsageError(`SHELL must be one of ${shells.join(", ")}, got ${JSON.stringify(wanted)}`);
      }
      output.print(await completionScript(shell, commands));
      return 0;
    },
  };
}

export async function completionScript(shell: Shell, commands: readonly CommandEntry[]): Promise<string> {
  const words = await Promise.all(commands.map(wordsOf));
  const topics = words.flat().map(({ name }) => name);
  const help = { name: "help", summary: "what a command does, with examples", choices: topics };
  return scripts[shell]([...words.flat(), { ...help, flags: commonFlags, runsCommand: false }]);
}

/** Of the command and its alias, for people may type either. */
async function wordsOf({ name, alias, summary, load }: CommandEntry): Promise<readonly CommandWords[]> {
  const { flags, choices = [], usage } = await load();
  const runsCommand = usage.some((line) => line.includes(" -- "));
  const words = { summary, flags: { ...flags, ...commonFlags }, choices, runsCommand };
  return [name, ...(alias === undefined ? [] : [alias])].map((each) => ({ name: each, ...words }));
}
