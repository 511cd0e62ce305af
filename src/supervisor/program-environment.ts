import { hookVariable, markVariable } from "./enclosure.ts";

/** What a supervisor tells its program at its start. */
export interface Told {
  readonly role: "leader" | "standby";
  readonly election: string;
  readonly id: string;
  /** None for a standby. */
  readonly token: bigint | undefined;
  readonly heartbeatFd: number | undefined;
  readonly roleFile: string | undefined;
  readonly api: string | undefined;
}

/** The names of what it tells; hooks get some more. Some of them are also names of settings. */
const names = [
  ...["ROLE", "ELECTION", "ID", "TOKEN", "HEARTBEAT_FD", "ROLE_FILE", "API"],
  ...["LEADER", "CAUSE"],
].map((name) => `SUCCESSION_${name}`);

export function programEnvironment(base: NodeJS.ProcessEnv, told: Told): NodeJS.ProcessEnv {
  const { role, election, id, token, heartbeatFd, roleFile, api } = told;
  return {
    ...base,
    SUCCESSION_ROLE: role,
    SUCCESSION_ELECTION: election,
    SUCCESSION_ID: id,
    SUCCESSION_TOKEN: token === undefined ? "" : String(token),
    ...(heartbeatFd === undefined ? {} : { SUCCESSION_HEARTBEAT_FD: String(heartbeatFd) }),
    ...(roleFile === undefined ? {} : { SUCCESSION_ROLE_FILE: roleFile }),
    ...(api === undefined ? {} : { SUCCESSION_API: api }),
  };
}

/**
 * The environment of a supervisor without what another one has told it. That is no setting: a supervisor that itself runs
 * under an election would write into the other's role file, and take the other's name.
 */
export function withoutTold(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  if (env[markVariable] === undefined && env[hookVariable] === undefined) return env;
  return Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)));
}
