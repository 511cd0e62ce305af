import { type Command, commonFlags, type Flags } from "./command.ts";

const width = 80;

/** The help text of one command. */
export function commandHelp({ usage, about, flags, examples }: Command): string {
  const parts = [
    usage.map((line, at) => `${at === 0 ? "Usage:" : "      "} succession ${line}`).join("\n"),
    ...about.map((paragraph) => (paragraph.includes("\n") ? paragraph : wrap(paragraph, ""))),
    `Flags:\n${flagList({ ...flags, ...commonFlags })}`,
    `Examples:\n${examples.map(([line, does]) => `  succession ${line}\n${wrap(does, "      ")}`).join("\n")}`,
  ];
  return parts.join("\n\n");
}

/** The help text of `succession` itself. */
export function generalHelp(
  commands: readonly { readonly name: string; readonly summary: string }[],
): string {
  return [
    "Usage: succession COMMAND [ARGUMENTS] [FLAGS]",
    wrap(
      "Active/standby failover on etcd: of several copies of a service exactly one leads, and the next in line takes over by itself.",
      "",
    ),
    `Commands:\n${commands.map(({ name, summary }) => `  ${name.padEnd(12)}${summary}`).join("\n")}`,
    wrap(
      "Settings come from the flag, else from the environment: SUCCESSION_ENDPOINTS, SUCCESSION_TTL and so on, else what etcdctl reads (ETCDCTL_ENDPOINTS, ETCDCTL_CACERT, ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER). Exit codes: 0 done, 1 failed, 2 wrong usage.",
      "",
    ),
    [
      "Start here:",
      "  succession demo               watch three members fail over; needs no etcd",
      "  succession help COMMAND       what a command does, with examples",
      "  succession --version",
    ].join("\n"),
  ].join("\n\n");
}

function flagList(flags: Flags): string {
  const rows = Object.entries(flags).map(([name, { short, value, help }]) => ({
    left: `  ${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`,
    help,
  }));
  const column = Math.max(...rows.map(({ left }) => left.length)) + 2;
  return rows
    .map(({ left, help }) => `${left.padEnd(column)}${wrap(help, " ".repeat(column)).trimStart()}`)
    .join("\n");
}

function wrap(text: string, indent: string): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.length - 1;
    const line = lines[last] === "" ? word : `${lines[last]} ${word}`;
    if (indent.length + line.length > width) lines.push(word);
    else lines[last] = line;
  }
  return lines.map((line) => `${indent}${line}`).join("\n");
}
