import { constants } from "node:os";
import { resolve } from "node:path";
import { parseAddress } from "../member/address.ts";
import { containmentNames, highestFd } from "../supervisor/containment.ts";
import { commandCheck, type HealthCheck, httpCheck } from "../supervisor/health-checks.ts";
import { restartPolicies } from "../supervisor/restarts.ts";
import type { SupervisorOptions } from "../supervisor/supervisor.ts";
import { apiFlags, apiSettingsOf } from "./api-settings.ts";
import type { Arguments } from "./arguments.ts";
import type { Flags } from "./command.ts";
import { hookFlags, stoppingSettingsOf } from "./hook-settings.ts";
import { type Env, type Given, lineOf, numberOf, setting, wrong } from "./settings.ts";

/** Everything about the program; the numbers that stand for nothing else are argued in docs/run.md. */
const defaults = {
  restartLimit: 5,
  restartWindowSeconds: 60,
  healthPeriodSeconds: 2,
  healthTimeoutSeconds: 1,
  healthFailures: 3,
  healthStartSeconds: 30,
  heartbeatMs: 5_000,
};

const standbys = ["cold", "warm"] as const;
const containments = ["auto", ...containmentNames] as const;
const lossPolicies = ["kill", "signal"] as const;

export const programFlags: Flags = {
  standby: {
    value: "HOW",
    choices: standbys,
    help: "cold: started to lead; warm: always running, told its role (default: cold)",
  },
  grace: {
    value: "SECONDS",
    help: "from SIGTERM to SIGKILL, at most half of the TTL (default: a fifth of it)",
  },
  restart: {
    value: "WHEN",
    choices: restartPolicies,
    help: "never, on-failure or always: stand again when it ends (default: on-failure)",
  },
  "restart-limit": { value: "N", help: `give up at so many failures (default: ${defaults.restartLimit})` },
  "restart-window": { value: "SECONDS", help: `within so long (default: ${defaults.restartWindowSeconds})` },
  containment: {
    value: "HOW",
    choices: containments,
    help: "auto, cgroup, namespace or group: how all of it is found (default: auto)",
  },
  "health-cmd": { value: "COMMAND", help: "a shell command that ends with 0 while the program is well" },
  "health-http": { value: "URL", help: "or a URL that answers 200 to 299" },
  "health-period": {
    value: "SECONDS",
    help: `between two checks (default: ${defaults.healthPeriodSeconds})`,
  },
  "health-timeout": { value: "SECONDS", help: `for one check (default: ${defaults.healthTimeoutSeconds})` },
  "health-failures": { value: "N", help: `in a row before it counts (default: ${defaults.healthFailures})` },
  "health-start": {
    value: "SECONDS",
    help: `until it must be well for the first time (default: ${defaults.healthStartSeconds})`,
  },
  "heartbeat-fd": { value: "N", help: "a descriptor, 3 to 8, on which the program writes signs of life" },
  "heartbeat-ms": { value: "MS", help: `the longest silence there (default: ${defaults.heartbeatMs})` },
  "lead-signal": { value: "SIGNAL", help: "tells a warm program that it leads (default: SIGUSR1)" },
  "standby-signal": { value: "SIGNAL", help: "tells it that it stands by (default: SIGUSR2)" },
  "on-loss": {
    value: "HOW",
    choices: lossPolicies,
    help: "kill or signal: what ends a warm program's lead (default: kill)",
  },
  "role-file": { value: "FILE", help: "says the role, token, leader and cause, as a line of JSON" },
  ...hookFlags,
  ...apiFlags,
  address: { value: "HOST:PORT", help: "where clients reach the program, for those who look it up" },
  zone: { value: "NAME", help: "its data centre" },
};

export type ProgramSettings = Pick<
  SupervisorOptions,
  | "standby"
  | "graceMs"
  | "restarts"
  | "containment"
  | "health"
  | "heartbeatFd"
  | "signals"
  | "onLoss"
  | "roleFile"
  | "hooks"
  | "api"
  | "details"
>;

/** Reads `programFlags`, each from the flag or its variable. Throws `UsageError`. */
export function programSettingsOf(args: Arguments, env: Env, ttlSeconds: number): ProgramSettings {
  const given = (name: string): Given | undefined => setting(args, env, name, false);
  const seconds = (name: string, fallback: number): number => secondsOf(given(name), fallback) * 1_000;
  const count = (name: string, fallback: number): number =>
    wholeNumberOf(given(name), "an integer of 1 or more", fallback, 1, Number.MAX_SAFE_INTEGER);
  const [address, zone] = [addressOf(given("address")), given("zone")?.value];
  return {
    standby: choiceOf(given("standby"), standbys, "cold"),
    ...stoppingSettingsOf(given, seconds, ttlSeconds),
    api: apiSettingsOf(args, env),
    roleFile: fileOf(given("role-file")),
    restarts: {
      policy: choiceOf(given("restart"), restartPolicies, "on-failure"),
      limit: count("restart-limit", defaults.restartLimit),
      windowMs: seconds("restart-window", defaults.restartWindowSeconds),
    },
    containment: choiceOf(given("containment"), containments, "auto"),
    health: {
      checks: checksOf(given("health-cmd"), given("health-http"), env),
      periodMs: seconds("health-period", defaults.healthPeriodSeconds),
      timeoutMs: seconds("health-timeout", defaults.healthTimeoutSeconds),
      failures: count("health-failures", defaults.healthFailures),
      startMs: seconds("health-start", defaults.healthStartSeconds),
      heartbeatMs: count("heartbeat-ms", defaults.heartbeatMs),
    },
    heartbeatFd: heartbeatFdOf(given("heartbeat-fd")),
    signals: {
      lead: signalOf(given("lead-signal"), "SIGUSR1"),
      standby: signalOf(given("standby-signal"), "SIGUSR2"),
    },
    onLoss: choiceOf(given("on-loss"), lossPolicies, "kill"),
    details: { ...(address === undefined ? {} : { address }), ...(zone === undefined ? {} : { zone }) },
  };
}

function fileOf(given: Given | undefined): string | undefined {
  if (given?.value === "") throw wrong(given, "the name of a file");
  return given === undefined ? undefined : resolve(given.value);
}

function addressOf(given: Given | undefined): string | undefined {
  if (given !== undefined && given.value !== "" && parseAddress(given.value) === undefined)
    throw wrong(given, "HOST:PORT");
  return given?.value;
}

function checksOf(command: Given | undefined, url: Given | undefined, env: Env): readonly HealthCheck[] {
  const checks: HealthCheck[] = [];
  const line = lineOf(command);
  if (line !== undefined) checks.push(commandCheck(line, env));
  if (url !== undefined) {
    if (!/^https?:$/.test(URL.canParse(url.value) ? new URL(url.value).protocol : ""))
      throw wrong(url, "a URL with http:// or https://");
    checks.push(httpCheck(url.value));
  }
  return checks;
}

function heartbeatFdOf(given: Given | undefined): number | undefined {
  if (given === undefined) return undefined;
  return wholeNumberOf(given, `a descriptor from 3 to ${highestFd}`, 3, 3, highestFd);
}

function secondsOf(given: Given | undefined, fallback: number): number {
  if (given === undefined) return fallback;
  const rule = "a number of seconds above 0";
  const seconds = numberOf(given, rule);
  // Timers take no more than 2^31 - 1 milliseconds.
  if (seconds <= 0 || seconds > 2_000_000) throw wrong(given, rule);
  return seconds;
}

function wholeNumberOf(
  given: Given | undefined,
  rule: string,
  fallback: number,
  least: number,
  most: number,
): number {
  if (given === undefined) return fallback;
  const value = numberOf(given, rule);
  if (!Number.isSafeInteger(value) || value < least || value > most) throw wrong(given, rule);
  return value;
}

function signalOf(given: Given | undefined, fallback: NodeJS.Signals): NodeJS.Signals {
  if (given === undefined) return fallback;
  const name = `SIG${given.value.toUpperCase().replace(/^SIG/, "")}`;
  if (!Object.hasOwn(constants.signals, name)) throw wrong(given, "a signal such as SIGUSR1");
  if (name === "SIGKILL" || name === "SIGSTOP") throw wrong(given, "a signal that a program can handle");
  return name as NodeJS.Signals;
}

function choiceOf<const T extends string>(given: Given | undefined, allowed: readonly T[], fallback: T): T {
  if (given === undefined) return fallback;
  const found = allowed.find((each) => each === given.value);
  if (found === undefined) throw wrong(given, `one of ${allowed.join(", ")}`);
  return found;
}
