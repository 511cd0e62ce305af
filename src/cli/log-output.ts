import type { Logger } from "../log.ts";
import type { Output } from "./output.ts";
import { UsageError } from "./usage-error.ts";

export const logLevels = ["silent", "error", "warn", "info", "debug"] as const;
export const logFormats = ["text", "json"] as const;

/** A logger that writes to standard error, as `--log-level` and `--log-format` say. */
export function loggerFor(output: Output, level: string | undefined, format: string | undefined): Logger {
  const most = logLevels.indexOf(oneOf("--log-level", logLevels, level ?? "error"));
  const asJson = oneOf("--log-format", logFormats, format ?? "text") === "json";
  const write =
    (name: "error" | "warn" | "info" | "debug") =>
    (fields: object, message: string): void => {
      if (logLevels.indexOf(name) > most) return;
      output.say(asJson ? jsonLine(name, fields, message) : textLine(name, fields, message));
    };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

function jsonLine(level: string, fields: object, message: string): string {
  return JSON.stringify({ level, time: new Date().toISOString(), msg: message, ...plainFields(fields) });
}

function textLine(level: string, fields: object, message: string): string {
  const pairs = Object.entries(plainFields(fields)).map(
    ([name, value]) => ` ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return `${new Date().toISOString()} ${level} ${message}${pairs.join("")}`.replace(/\s*\n\s*/g, " ");
}

/** Errors become their message, and numbers of etcd become numbers. */
function plainFields(fields: object): object {
  return JSON.parse(
    JSON.stringify(fields, (_key, value: unknown) => {
      if (typeof value === "bigint") return Number(value);
      return value instanceof Error ? value.message : value;
    }),
  );
}

function oneOf<const T extends string>(flag: string, allowed: readonly T[], value: string): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined)
    throw new UsageError(`${flag} must be one of ${allowed.join(", ")}, got ${JSON.stringify(value)}`);
  return found;
}
