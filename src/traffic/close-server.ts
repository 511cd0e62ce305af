import type { Server } from "node:http";
import { Server as NetServer } from "node:net";
import { systemClock } from "../clock.ts";

/**
 * Stops listening and resolves when every connection has ended, or after `timeoutMs` (default 10000), which ends the
 * rest. Other than `server.close()` alone, it does not close idle connections under a client's hands, which may have sent
 * its next request already: they end by `Connection: close`, as a guard says after its member has left, or when they have
 * been idle for the server's `keepAliveTimeout`.
 */
export async function closeServer(
  server: Server,
  options: { readonly timeoutMs?: number } = {},
): Promise<void> {
  const { timeoutMs = 10_000 } = options;
  const cancel = systemClock.at(systemClock.now() + timeoutMs, () => server.closeAllConnections());
  await new Promise<void>((resolve) => {
    // An HTTP server's own `close` ends idle connections at once.
    NetServer.prototype.close.call(server, () => resolve());
  });
  cancel();
}
