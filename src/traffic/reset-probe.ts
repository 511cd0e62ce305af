import type { Socket } from "node:net";

const nothing = Buffer.alloc(0);

/**
 * Finds out whether a connection that is not being read has been reset: Node.js would not tell before it reads on, which
 * may be never. To write nothing sends nothing, and fails on a broken connection, which then closes with its error.
 */
export function probeReset(socket: Socket): void {
  if (!socket.isPaused() || socket.destroyed || socket.connecting) return;
  // What still waits to be written finds it out by itself.
  if (!socket.writableEnded && socket.writableLength === 0) socket.write(nothing);
}
