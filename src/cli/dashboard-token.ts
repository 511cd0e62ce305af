import { readFileSync } from "node:fs";
import type { Arguments } from "./arguments.ts";
import { type Env, setting } from "./settings.ts";
import { UsageError } from "./usage-error.ts";

/**
 * The token for steering from the page, and under what name it was given. Never from a flag: command lines are for
 * everybody to see. Throws `UsageError`.
 */
export function dashboardTokenOf(
  args: Arguments,
  env: Env,
): { readonly token: string; readonly source: string } | undefined {
  const file = args.value("token-file");
  if (file === undefined) {
    const given = setting(args, env, "dashboard-token", false);
    return given === undefined ? undefined : { token: given.value, source: given.source };
  }
  try {
    const token = readFileSync(file, "utf8").replace(/\r?\n$/, "");
    return { token, source: "the content of --token-file" };
  } catch (error) {
    const { code = "unreadable" } = error as NodeJS.ErrnoException;
    throw new UsageError(`--token-file must be a readable file (${code}), got ${JSON.stringify(file)}`);
  }
}
