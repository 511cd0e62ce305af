import type { Server } from "node:http";
import type { LeaderOnly } from "../../src/traffic/leader-only.ts";

/** A Hono application with a guard in front. */
export function listenWithHono(
  name: string,
  guard: LeaderOnly,
  wait: (signal: AbortSignal | undefined) => Promise<void>,
  port: number,
): Promise<Server>;
