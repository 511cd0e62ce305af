import type { Flag } from "./command.ts";
import type { CommandWords } from "./completion.ts";

/** For a file in `fpath`, and to be read by `source` after `compinit`. */
export function zshCompletion(commands: readonly CommandWords[]): string {
  return `#compdef succession
# zsh completion for succession, made by: succession completion zsh

_succession() {
  local curcontext=$curcontext state state_descr line i
  typeset -A opt_args
  local -a succession_commands=(
${commands.map(({ name, summary }) => `    ${quoted(`${name}:${summary}`)}`).join("\n")}
  )
  _arguments -C '(- *)'{-h,--help}'[print a help text]' '(- *)--version[print the version]' \\
    '(-): :->command' '(-)*:: :->arguments'
  case $state in
    command) _describe command succession_commands ;;
    arguments)
      case $words[1] in
${commands.map(branch).join("\n")}
      esac
      ;;
  esac
}

# Read as a function of fpath it is called; read by source it is made known.
if [[ $funcstack[1] == _succession ]]; then _succession "$@"; else compdef _succession succession; fi`;
}

function branch({ name, flags, choices, runsCommand }: CommandWords): string {
  const specs = [
    ...Object.entries(flags).map(([flag, about]) => quoted(flagSpec(flag, about))),
    ...(choices.length > 0 ? [quoted(`1:argument:(${choices.join(" ")})`)] : []),
    // Flags are completed behind other arguments only where it says that there may be some.
    quoted("*:argument:()"),
  ];
  const afterDashes = `          i=\${words[(i)--]}
          if ((i < CURRENT)); then
            # What follows is a command line of its own.
            shift $i words
            ((CURRENT -= i))
            _normal
            return
          fi
`;
  return `        ${name})
${runsCommand ? afterDashes : ""}          _arguments -S ${specs.join(" \\\n            ")}
          ;;`;
}

/** `--name[help]`, and `--name=[help]:VALUE:what it may be`. */
function flagSpec(name: string, { value, choices, help }: Flag): string {
  if (value === undefined) return `--${name}[${escaped(help)}]`;
  const action =
    choices !== undefined
      ? `(${choices.join(" ")})`
      : value === "FILE"
        ? "_files"
        : value === "DIR"
          ? "_files -/"
          : " ";
  return `--${name}=[${escaped(help)}]:${escaped(value)}:${action}`;
}

/** What means something in a specification of `_arguments`. */
const escaped = (text: string): string => text.replace(/[\\[\]:]/g, "\\$&");

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
