import type { Server } from "node:http";
import { Server as NetServer } from "node:net";
import type { Duplex } from "node:stream";
import { systemClock } from "../clock.ts";
import { checkWait } from "./guard-options.ts";

/** Connections that speak another protocol by now, by their server, which ends none of them and waits for all. */
const upgraded: WeakMap<object, Set<Duplex>> = new WeakMap();

/** Has `closeServer` end this connection, too, when the time is over. */
export function noteUpgraded(socket: Duplex): void {
  // Node.js says so in no type: the server that has accepted a socket is its property.
  const { server } = socket as { readonly server?: object };
  if (server === undefined) return;
  const all = upgraded.get(server) ?? new Set();
  upgraded.set(server, all.add(socket));
  socket.once("close", () => all.delete(socket));
}

/**
 * Stops listening and resolves when every connection has ended, or after `timeoutMs` (default 10000), which ends the
 * rest, also those that a guard has let be upgraded. Other than `server.close()` alone, it does not close idle
 * connections under a client's hands, which may have sent its next request already: they end by `Connection: close`, as a
 * guard says after its member has left, or when they have been idle for the server's `keepAliveTimeout`. Rejects with
 * `BAD_OPTION`.
 */
export async function closeServer(
  server: Server,
  options: { readonly timeoutMs?: number } = {},
): Promise<void> {
  const { timeoutMs = 10_000 } = options;
  checkWait("timeoutMs", timeoutMs);
  let cancel = (): void => {};
  await new Promise<void>((resolve) => {
    cancel = systemClock.at(systemClock.now() + timeoutMs, () => {
      server.closeAllConnections();
      for (const socket of upgraded.get(server) ?? []) socket.destroy();
      // Others may have upgraded some, of which nobody knows here.
      resolve();
    });
    // An HTTP server's own `close` ends idle connections at once.
    NetServer.prototype.close.call(server, () => resolve());
  });
  cancel();
}
