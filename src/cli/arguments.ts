import { parseArgs } from "node:util";
import type { Command, Flags } from "./command.ts";
import { commonFlags } from "./command.ts";
import { nearest } from "./suggestion.ts";
import { UsageError } from "./usage-error.ts";

/** The arguments of one command, checked against its flags. */
export class Arguments {
  readonly positionals: readonly string[];
  readonly #values: ReadonlyMap<string, readonly string[]>;
  readonly #beforeDashes: number;

  constructor(
    positionals: readonly string[],
    values: ReadonlyMap<string, readonly string[]>,
    beforeDashes: number = positionals.length,
  ) {
    this.positionals = positionals;
    this.#values = values;
    this.#beforeDashes = beforeDashes;
  }

  /** The arguments before `--` and, where that is a command line of its own, those after it. */
  get split(): { readonly own: Arguments; readonly command: readonly string[] } {
    const own = new Arguments(this.positionals.slice(0, this.#beforeDashes), this.#values);
    return { own, command: this.positionals.slice(this.#beforeDashes) };
  }

  /** Whether the switch is given. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The flag's value; of several the last. */
  value(name: string): string | undefined {
    return this.#values.get(name)?.at(-1);
  }

  /** Every value of a flag that may be repeated. */
  values(name: string): readonly string[] | undefined {
    return this.#values.get(name);
  }

  /** Throws unless there are as many positional arguments as names. */
  take<const N extends readonly string[]>(names: N): { readonly [I in keyof N]: string } {
    const missing = names[this.positionals.length];
    if (missing !== undefined) throw new UsageError(`${missing} is missing`);
    const extra = this.positionals[names.length];
    if (extra !== undefined) throw new UsageError(`unexpected argument ${JSON.stringify(extra)}`);
    return this.positionals as unknown as { readonly [I in keyof N]: string };
  }
}

/** Reads the arguments after the command's name. Throws `UsageError` for flags that the command does not have. */
export function parseArguments(args: readonly string[], command: Pick<Command, "flags">): Arguments {
  const flags = { ...command.flags, ...commonFlags };
  const positionals: string[] = [];
  const values = new Map<string, string[]>();
  let beforeDashes: number | undefined;
  for (const token of tokensOf(args, flags)) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind === "option-terminator") beforeDashes = positionals.length;
    if (token.kind !== "option") continue;
    const flag = flags[token.name];
    if (flag === undefined) throw unknownFlag(token.rawName, flags);
    if (flag.value === undefined && token.value !== undefined) {
      throw new UsageError(`${token.rawName} takes no value, got ${JSON.stringify(token.value)}`);
    }
    // `--ttl --json` is a forgotten value; `--ttl -3` is a wrong one.
    const forgotten = token.value === undefined || (!token.inlineValue && token.value.startsWith("--"));
    if (flag.value !== undefined && forgotten)
      throw new UsageError(`${token.rawName} needs a value: ${flag.value}`);
    values.set(token.name, [...(values.get(token.name) ?? []), token.value ?? ""]);
  }
  return new Arguments(positionals, values, beforeDashes);
}

/** Splits a command line at the command's name, which flags that all commands know may precede. */
export function splitAtCommand(
  args: readonly string[],
  flags: Flags,
): { readonly name: string | undefined; readonly rest: readonly string[] } {
  const found = tokensOf(args, flags).find((token) => token.kind === "positional");
  if (found === undefined) return { name: undefined, rest: args };
  return { name: args[found.index], rest: args.filter((_, at) => at !== found.index) };
}

function tokensOf(args: readonly string[], flags: Flags) {
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, { value, short }]) => [
      name,
      {
        type: value === undefined ? ("boolean" as const) : ("string" as const),
        multiple: true,
        ...(short === undefined ? {} : { short }),
      },
    ]),
  );
  return parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true }).tokens;
}

function unknownFlag(given: string, flags: Flags): UsageError {
  const like = nearest(
    given,
    Object.keys(flags).map((name) => `--${name}`),
  );
  return new UsageError(`unknown flag ${given}${like === undefined ? "" : `, did you mean ${like}?`}`);
}
