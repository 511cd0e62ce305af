/**
 * Where all the processes of one program are found, however they forked and detached. Plain data: the shim, which is
 * another process, is told.
 */
export interface Enclosure {
  /** Stands in the environment of every process of the program. */
  readonly mark: string;
  /** The cgroup that holds them, where there is one: nothing gets out of that. */
  readonly cgroup?: string;
  /** The first process, once it is started; it leads a session of its own. */
  readonly pid?: number;
}

/** The name of the variable that marks the processes of a program. */
export const markVariable = "SUCCESSION_RUN_ID";

/** The same for those of a hook. */
export const hookVariable = "SUCCESSION_HOOK_ID";

/**
 * Marks what is started with this environment. The marks of whatever this supervisor itself is started by stay, so that who
 * kills that finds the program as well.
 */
export function marked(
  env: NodeJS.ProcessEnv,
  variable: typeof markVariable | typeof hookVariable,
  mark: string,
): NodeJS.ProcessEnv {
  const { [variable]: outer = "" } = env;
  return { ...env, [variable]: outer === "" ? mark : `${outer} ${mark}` };
}
