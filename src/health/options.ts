import { badOption } from "../errors.ts";

/** The questions that have a yes and a no. */
export type HealthCheck = "leader" | "primary" | "standby" | "health" | "live";

export const checks: readonly HealthCheck[] = ["leader", "primary", "standby", "health", "live"];

/** The HTTP statuses for yes and no, for balancers with other habits. */
export interface HealthCodes {
  /** @defaultValue 200 */
  readonly yes?: number;
  /** @defaultValue 503 */
  readonly no?: number;
}

/** Where a member answers the health checks of load balancers and of people. */
export interface HealthOptions {
  /** A TCP port; 0 takes any free one, which `member.healthPort` tells. */
  readonly port: number;
  /** The address to listen on. The answers name members, so others than this machine must be let in on purpose. @defaultValue "127.0.0.1" */
  readonly host?: string;
  /** By endpoint, without its slash; `primary` is another name of `leader` and follows its codes unless it has its own. */
  readonly codes?: Readonly<Partial<Record<HealthCheck, HealthCodes>>>;
}

/** The options with every default in place. */
export interface CheckedHealth {
  readonly port: number;
  readonly host: string;
  readonly codes: Readonly<Record<HealthCheck, Required<HealthCodes>>>;
}

/** Throws `BAD_OPTION` naming the field, the rule and the value. */
export function checkHealth(options: HealthOptions): CheckedHealth {
  if (typeof options !== "object" || options === null)
    throw badOption("health", "an object with a port", options);
  for (const field of Object.keys(options)) {
    if (!["port", "host", "codes"].includes(field))
      throw badOption("health", "without unknown fields", field);
  }
  const { port, host = "127.0.0.1", codes = {} } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw badOption("health.port", "a port from 0 (any free one) to 65535", port);
  }
  if (typeof host !== "string" || host === "")
    throw badOption("health.host", "an address such as 0.0.0.0", host);
  return { port, host, codes: checkCodes(codes) };
}

function checkCodes(codes: NonNullable<HealthOptions["codes"]>): CheckedHealth["codes"] {
  if (typeof codes !== "object" || codes === null) throw badOption("health.codes", "an object", codes);
  for (const name of Object.keys(codes)) {
    if (!checks.some((check) => check === name))
      throw badOption("health.codes", `of ${checks.join(", ")}`, name);
  }
  const all = { primary: codes.leader ?? {}, ...codes };
  const full = checks.map((check) => {
    const own = all[check] ?? {};
    const { yes = 200, no = 503 } = own;
    const unknown = Object.keys(own).find((answer) => !["yes", "no"].includes(answer));
    if (unknown !== undefined) throw badOption(`health.codes.${check}`, "of yes and no", unknown);
    for (const [answer, code] of Object.entries({ yes, no })) {
      if (Number.isInteger(code) && code >= 200 && code <= 599) continue;
      throw badOption(`health.codes.${check}.${answer}`, "an HTTP status from 200 to 599", code);
    }
    if (yes === no) throw badOption(`health.codes.${check}`, "different for yes and for no", yes);
    return [check, { yes, no }];
  });
  return Object.fromEntries(full);
}
