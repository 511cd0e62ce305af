import type { Flag, Flags } from "./command.ts";
import type { CommandWords } from "./completion.ts";

/**
 * For bash 3.2 and later, with or without the bash-completion package. What the tables say becomes branches of `case`;
 * nothing in them is expanded by the shell.
 */
export function bashCompletion(commands: readonly CommandWords[]): string {
  return `# bash completion for succession, made by: succession completion bash

_succession_words() {
  local word
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen "$@")
}

# The flags of a command.
_succession_flags() {
  case $1 in
${commands.map(({ name, flags }) => `    ${name}) echo '${flagNames(flags, () => true).join(" ")}' ;;`).join("\n")}
  esac
}

# Those that take a value.
_succession_valued() {
  case $1 in
${commands.map(({ name, flags }) => `    ${name}) echo '${flagNames(flags, ({ value }) => value !== undefined).join(" ")}' ;;`).join("\n")}
  esac
}

# Completes the value of a flag: command, flag, what is typed.
_succession_value() {
  case "$1 $2" in
${commands.flatMap(valueBranches).join("\n")}
  esac
}

# Completes the first argument of a command: command, what is typed.
_succession_argument() {
  case $1 in
${commands
  .filter(({ choices }) => choices.length > 0)
  .map(({ name, choices }) => `    ${name}) _succession_words -W '${choices.join(" ")}' -- "$2" ;;`)
  .join("\n")}
  esac
}

_succession() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command= count=0 i word
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in
      --)
        # What follows is a command line of its own.
        case $command in
${commands
  .filter(({ runsCommand }) => runsCommand)
  .map(({ name }) => `          ${name}) ;;`)
  .join("\n")}
          *) return ;;
        esac
        if declare -F _command_offset >/dev/null; then _command_offset $((i + 1))
        elif ((i + 1 == COMP_CWORD)); then _succession_words -c -- "$cur"
        else compopt -o filenames 2>/dev/null; _succession_words -f -- "$cur"
        fi
        return
        ;;
      -*)
        # With its value, which bash splits off where it is joined by =.
        case " $(_succession_valued "\${command:-help}") " in
          *" $word "*)
            if [[ \${COMP_WORDS[i+1]} == = ]]; then ((i++)); fi
            ((i++))
            ;;
        esac
        ;;
      *) if [[ -z $command ]]; then command=$word; else ((count++)); fi ;;
    esac
  done
  if [[ $cur == = ]]; then cur=
  elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  case " $(_succession_valued "\${command:-help}") " in
    *" $prev "*) _succession_value "\${command:-help}" "$prev" "$cur"; return ;;
  esac
  if [[ $cur == -* ]]; then _succession_words -W "$(_succession_flags "\${command:-help}")" -- "$cur"
  elif [[ -z $command ]]; then _succession_words -W '${commands.map(({ name }) => name).join(" ")}' -- "$cur"
  elif ((count == 0)); then _succession_argument "$command" "$cur"
  fi
}

complete -F _succession succession`;
}

function flagNames(flags: Flags, which: (flag: Flag) => boolean): readonly string[] {
  return Object.entries(flags)
    .filter(([, flag]) => which(flag))
    .map(([name]) => `--${name}`);
}

function valueBranches({ name, flags }: CommandWords): readonly string[] {
  return Object.entries(flags).flatMap(([flag, { value, choices }]) => {
    const how =
      choices !== undefined
        ? `_succession_words -W '${choices.join(" ")}' -- "$3"`
        : value === "FILE" || value === "DIR"
          ? `compopt -o filenames 2>/dev/null; _succession_words -${value === "FILE" ? "f" : "d"} -- "$3"`
          : undefined;
    return how === undefined ? [] : [`    '${name} --${flag}') ${how} ;;`];
  });
}
