import { SuccessionError } from "../errors.ts";

/** The command was called in a way that it cannot be: exit code 2. */
export class UsageError extends Error {
  override readonly name: string = "UsageError";
}

/** How the command line names the fields of the library. */
const argumentOf: Readonly<Record<string, string>> = {
  election: "ELECTION",
  id: "ID",
  ttlSeconds: "--ttl",
  endpoints: "--endpoints",
  "tls.ca": "--cacert",
  "tls.cert": "--cert",
  "tls.key": "--key",
  "tls.cert and tls.key": "--cert and --key",
  tls: "--cacert, --cert and --key",
  dataDir: "--data-dir",
  target: "--target",
  maxStaleMs: "--max-stale-ms",
  holdMs: "--hold-ms",
  holdConnections: "--hold-connections",
  drainMs: "--drain-ms",
  connectMs: "--connect-ms",
  silentMs: "--silent-ms",
  reason: "--reason",
  forMs: "--for",
  by: "--by",
  to: "--to",
};

/**
 * Runs `task`; an option that the library refuses becomes wrong usage, by the name under which the user gave it.
 * `sources` are names that differ from the flag's, such as an environment variable.
 */
export function asUsage<T>(task: () => T, sources: Readonly<Record<string, string>> = {}): T {
  try {
    return task();
  } catch (error) {
    if (!(error instanceof SuccessionError) || error.code !== "BAD_OPTION") throw error;
    throw new UsageError(renamed(error.message, { ...argumentOf, ...sources }), { cause: error });
  }
}

/** The same for a rejection: what the library says of an option, by the name of the flag. */
export function asWrongUsage(error: unknown): never {
  return asUsage(() => {
    throw error;
  });
}

function renamed(message: string, names: Readonly<Record<string, string>>): string {
  const field = Object.keys(names)
    .filter((name) => message.startsWith(`${name} `))
    .sort((a, b) => b.length - a.length)[0];
  const named = field === undefined ? message : `${names[field]}${message.slice(field.length)}`;
  return named.replace(/\btls\.(cert|key) alone\b/, "--$1 alone");
}
