import type { Flag } from "./command.ts";
import type { CommandWords } from "./completion.ts";

export function fishCompletion(commands: readonly CommandWords[]): string {
  const running = commands.filter(({ runsCommand }) => runsCommand).map(({ name }) => name);
  return `# fish completion for succession, made by: succession completion fish

# Whether a command line of its own has begun, after --.
function __succession_runs
    set -l words (commandline -opc)
    contains -- "$words[2]" ${running.join(" ")}; and contains -- -- $words
end

# Completes it.
function __succession_run_command
    set -l words (commandline -opc)
    set -l at (contains -i -- -- $words)
    set -e words[1..$at]
    complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))
end

function __succession_in
    set -l words (commandline -opc)
    contains -- "$words[2]" $argv; and not __succession_runs
end

complete -c succession -f
complete -c succession -n __succession_runs -a '(__succession_run_command)'
complete -c succession -n __fish_is_first_token -s h -l help -d 'print a help text'
complete -c succession -n __fish_is_first_token -l version -d 'print the version'
${commands.flatMap(linesOf).join("\n")}`;
}

function linesOf({ name, summary, flags, choices }: CommandWords): readonly string[] {
  const here = `complete -c succession -n '__succession_in ${name}'`;
  return [
    `complete -c succession -n __fish_is_first_token -a ${name} -d ${quoted(summary)}`,
    ...(choices.length > 0 ? [`${here} -a ${quoted(choices.join(" "))}`] : []),
    ...Object.entries(flags).map(([flag, about]) => `${here} ${flagArguments(flag, about)}`),
  ];
}

function flagArguments(name: string, { short, value, choices, help }: Flag): string {
  const values =
    value === undefined
      ? ""
      : choices !== undefined
        ? ` -x -a ${quoted(choices.join(" "))}`
        : value === "FILE" || value === "DIR"
          ? " -r -F"
          : " -x";
  return `${short === undefined ? "" : `-s ${short} `}-l ${name}${values} -d ${quoted(help)}`;
}

/** Between single quotes only the quote and the backslash mean something. */
const quoted = (text: string): string => `'${text.replace(/[\\']/g, "\\$&")}'`;
