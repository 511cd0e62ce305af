import type { Arguments } from "./arguments.ts";
import { UsageError } from "./usage-error.ts";

export type Env = NodeJS.ProcessEnv;

/** A setting, and under what name the user gave it. */
export interface Given {
  readonly value: string;
  readonly source: string;
}

/** From the flag, else `SUCCESSION_*`, else `ETCDCTL_*`. An empty variable is as good as none. */
export function setting(args: Arguments, env: Env, name: string, fallbacks = true): Given | undefined {
  const flag = args.value(name);
  if (flag !== undefined) return { value: flag, source: `--${name}` };
  const variable = name.toUpperCase().replaceAll("-", "_");
  for (const prefix of fallbacks ? ["SUCCESSION_", "ETCDCTL_"] : ["SUCCESSION_"]) {
    const value = env[`${prefix}${variable}`];
    if (value !== undefined && value !== "") return { value, source: `${prefix}${variable}` };
  }
  return undefined;
}

/** A duration given in seconds, in milliseconds. */
export function durationMsOf(args: Arguments, name: string, fallbackSeconds: number): number {
  const value = args.value(name);
  const rule = "a number of seconds above 0";
  const given = { value: value ?? String(fallbackSeconds), source: `--${name}` };
  const seconds = numberOf(given, rule);
  // Timers take no more than 2^31 - 1 milliseconds.
  if (seconds <= 0 || seconds > 2_000_000) throw wrong(given, seconds > 0 ? "at most 2000000 seconds" : rule);
  return seconds * 1_000;
}

/** A duration given in milliseconds; the library checks what it may be. */
export function millisecondsOf(args: Arguments, name: string): number | undefined {
  const value = args.value(name);
  if (value === undefined) return undefined;
  return numberOf({ value, source: `--${name}` }, "a number of milliseconds");
}

/** A count of 1 or more. */
export function countOf(args: Arguments, name: string): number | undefined {
  return countFrom(1, args, name);
}

/** A count of 0 or more. */
export function countOrZeroOf(args: Arguments, name: string): number | undefined {
  return countFrom(0, args, name);
}

function countFrom(least: 0 | 1, args: Arguments, name: string): number | undefined {
  const value = args.value(name);
  if (value === undefined) return undefined;
  const given = { value, source: `--${name}` };
  const rule = `an integer of ${least} or more`;
  const count = numberOf(given, rule);
  if (!Number.isSafeInteger(count) || count < least) throw wrong(given, rule);
  return count;
}

/** A number as people write it. */
export function numberOf(given: Given, rule: string): number {
  if (!/^[+-]?\d+(\.\d+)?$/.test(given.value)) throw wrong(given, rule);
  return Number(given.value);
}

/** What to throw at a value that breaks the rule. */
export function wrong({ value, source }: Given, rule: string): UsageError {
  return new UsageError(
    `${source} must be ${rule}, got ${/^[+-]?[\d.]+$/.test(value) ? value : JSON.stringify(value)}`,
  );
}

/** A command line for a shell, which takes one without a word for done: a variable that was not set, more likely. */
export function lineOf(given: Given | undefined): string | undefined {
  if (given !== undefined && given.value.trim() === "") throw wrong(given, "a shell command");
  return given?.value;
}

/** `HOST:PORT`, where a command serves. */
export function listenAddressOf(
  args: Arguments,
  fallback: string,
  flag: string = "listen",
): { readonly host: string; readonly port: number } {
  const text = args.value(flag) ?? fallback;
  const [, v6, name, digits] = /^(?:\[([^\]]+)\]|([^:[\]/\s]+)):(\d{1,6})$/.exec(text) ?? [];
  const host = v6 ?? name;
  const port = Number(digits);
  if (host === undefined || port > 65_535) {
    throw new UsageError(
      `--${flag} must be HOST:PORT with a port from 0 to 65535, got ${JSON.stringify(text)}`,
    );
  }
  return { host, port };
}

/** Settings of the logger, which have variables of their own. */
export function logSettingsOf(
  args: Arguments,
  env: Env,
): { level: string | undefined; format: string | undefined } {
  return {
    level: setting(args, env, "log-level", false)?.value,
    format: setting(args, env, "log-format", false)?.value,
  };
}
