import type { HookLines } from "../supervisor/hook.ts";
import { reapMs } from "../supervisor/leash.ts";
import type { Flags } from "./command.ts";
import { type Given, lineOf, numberOf, wrong } from "./settings.ts";

/** A hook of a leader holds nothing up, so it may take the time that a cloud's API needs. */
const onLeadSeconds = 30;
/** Shares of the TTL: the program and then the hook stop within half of it, for the rest is needed to renew. */
const shares = { grace: 0.2, onStandby: 0.1 };

export const hookFlags: Flags = {
  "on-lead": { value: "COMMAND", help: "a shell command that is run when the program begins to lead" },
  "on-lead-timeout": { value: "SECONDS", help: `until it is killed (default: ${onLeadSeconds})` },
  "on-standby": { value: "COMMAND", help: "one that is run at the start and whenever a lead is over" },
  "on-standby-timeout": { value: "SECONDS", help: "until it is killed (default: a tenth of the TTL)" },
};

/** Reads `hookFlags` and `--grace`, which share the time to stop. Throws `UsageError`. */
export function stoppingSettingsOf(
  given: (name: string) => Given | undefined,
  milliseconds: (name: string, fallbackSeconds: number) => number,
  ttlSeconds: number,
): { readonly graceMs: number; readonly hooks: HookLines } {
  const hooks = {
    onLead: lineOf(given("on-lead")),
    onLeadMs: milliseconds("on-lead-timeout", onLeadSeconds),
    onStandby: lineOf(given("on-standby")),
    onStandbyMs: milliseconds("on-standby-timeout", ttlSeconds * shares.onStandby),
  };
  const ttlMs = ttlSeconds * 1_000;
  const mostMs = ttlMs / 2 - reapMs(ttlMs);
  const longer = "(the more, the longer --ttl must be)";
  const [hook, hookMs] = [given("on-standby-timeout"), hooks.onStandby === undefined ? 0 : hooks.onStandbyMs];
  if (hook !== undefined && hookMs > mostMs)
    throw wrong(hook, `at most ${mostMs / 1_000} seconds with a TTL of ${ttlSeconds} s ${longer}`);
  const leftMs = mostMs - hookMs;
  const grace = given("grace");
  if (grace === undefined) return { hooks, graceMs: Math.min(ttlMs * shares.grace, leftMs) };
  const beside = hookMs === 0 ? "" : ` and ${hookMs / 1_000} s for --on-standby`;
  const rule = `from 0 to ${leftMs / 1_000} seconds with a TTL of ${ttlSeconds} s${beside} ${longer}`;
  const graceMs = numberOf(grace, rule) * 1_000;
  if (graceMs < 0 || graceMs > leftMs) throw wrong(grace, rule);
  return { hooks, graceMs };
}
