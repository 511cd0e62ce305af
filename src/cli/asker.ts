import { hostname, userInfo } from "node:os";
import type { Arguments } from "./arguments.ts";

/** Who asks, for everybody who looks: `--by`, else the user of the machine. */
export function askerOf(args: Arguments): string {
  const by = args.value("by");
  if (by !== undefined) return by;
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // A container may run under a number that has no name.
    return hostname();
  }
}

export const byFlag = {
  by: { value: "NAME", help: "who asks, shown to others (default: user@host)" },
} as const;
