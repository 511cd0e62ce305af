import { type AddressInfo, createServer, type Server } from "node:net";

/**
 * Below the range that Linux gives to outgoing connections (32768 and up), so that a
 * port is still free when what listened on it is killed and started again.
 */
const lowest = 12_000;
const highest = 32_000;

/**
 * Ports of 127.0.0.1 that nobody listens on now. Somebody may take one before the
 * caller does: whoever uses them must be ready to ask for others.
 */
export async function freePorts(count: number): Promise<number[]> {
  const held: Server[] = [];
  try {
    while (held.length < count) {
      const server = await listen(lowest + Math.floor(Math.random() * (highest - lowest)));
      if (server !== undefined) held.push(server);
    }
    return held.map((server) => (server.address() as AddressInfo).port);
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

function listen(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ port, host: "127.0.0.1" }, () => resolve(server));
  });
}
