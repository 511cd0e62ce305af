import type { Server } from "node:http";

/** A Hono application with a guard (`LeaderOnly`) in front. */
export function listenWithHono(
  name: string,
  guard: object,
  wait: (signal: AbortSignal | undefined) => Promise<void>,
  port: number,
): Promise<Server>;
