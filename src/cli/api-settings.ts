import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { ApiOptions, ApiPlace } from "../supervisor/api-server.ts";
import { checkSocketPath, socketFolder } from "../supervisor/api-socket.ts";
import type { Arguments } from "./arguments.ts";
import type { Flags } from "./command.ts";
import { type Env, type Given, setting } from "./settings.ts";
import { UsageError } from "./usage-error.ts";

export const apiFlags: Flags = {
  api: { value: "WHERE", help: "answer on a socket (a path with a /, or auto) or on [HOST:]PORT" },
  "api-token-file": { value: "FILE", help: "what POST must bring over TCP; or SUCCESSION_API_TOKEN" },
};

/** Long enough not to be guessed, and of characters that a header can carry. */
const tokenRule = "16 to 1024 visible ASCII characters";

/** Reads `apiFlags`. Throws `UsageError`. */
export function apiSettingsOf(args: Arguments, env: Env): ApiOptions | undefined {
  const given = setting(args, env, "api", false);
  const file = setting(args, env, "api-token-file", false);
  if (given === undefined) {
    if (file?.source === "--api-token-file") throw new UsageError("--api-token-file needs --api");
    return undefined;
  }
  return { at: placeOf(given, env), token: tokenOf(file, env) };
}

function placeOf(given: Given, env: Env): ApiPlace {
  const { value, source } = given;
  if (value === "auto" || value.includes("/")) {
    try {
      const path = value === "auto" ? join(socketFolder(env), `run-${process.pid}.sock`) : resolve(value);
      checkSocketPath(path);
      return { path };
    } catch (error) {
      throw new UsageError(`${source}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  const [, v6, name, digits] = /^(?:(?:\[([^\]]+)\]|([^:[\]\s]*)):)?(\d{1,5})$/.exec(value) ?? [];
  const port = Number(digits);
  if (!(port <= 65_535)) {
    const rule = "auto, a path with a /, PORT or HOST:PORT with a port from 0 to 65535";
    throw new UsageError(`${source} must be ${rule}, got ${JSON.stringify(value)}`);
  }
  return { host: v6 || name || "127.0.0.1", port };
}

/** The token never comes from a flag: command lines are for everybody to see. Nor does it stand in an error. */
function tokenOf(file: Given | undefined, env: Env): string | undefined {
  const { SUCCESSION_API_TOKEN: inline } = env;
  const given = file === undefined ? inline : contentOf(file);
  if (given === undefined || (given === "" && file === undefined)) return undefined;
  if (/^[!-~]{16,1024}$/.test(given)) return given;
  throw new UsageError(`${file?.source ?? "SUCCESSION_API_TOKEN"} must hold ${tokenRule}`);
}

function contentOf({ value, source }: Given): string {
  try {
    return readFileSync(value, "utf8").replace(/\r?\n$/, "");
  } catch (error) {
    const { code = "unreadable" } = error as NodeJS.ErrnoException;
    throw new UsageError(`${source} must be a readable file (${code}), got ${JSON.stringify(value)}`);
  }
}
