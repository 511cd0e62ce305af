import { UsageError } from "./usage-error.ts";

const units: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** A length of time as people write it, in milliseconds: `90s`, `15m`, `2h`, `1d`; a number alone is seconds. */
export function durationMsIn(text: string, source: string): number {
  const [, number = "", unit = "s"] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text) ?? [];
  const ms = Number(number) * (units[unit] ?? 0);
  if (number !== "" && ms > 0) return ms;
  throw new UsageError(`${source} must be a duration such as 90s, 15m or 2h, got ${JSON.stringify(text)}`);
}

/** A length of time for people to read. */
export function durationText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${Math.round(ms / 100) / 10} s`;
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 360_000) / 10} h`;
}
