import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";

/** Takes connections and says nothing, as a peer does whose process hangs. */
export class SilentServer {
  readonly #server: Server;
  readonly sockets: Set<Socket> = new Set();
  accepted = 0;

  static async start(greeting = ""): Promise<SilentServer> {
    const silent = new SilentServer(greeting);
    silent.#server.listen(0, "127.0.0.1");
    await once(silent.#server, "listening");
    return silent;
  }

  private constructor(greeting: string) {
    this.#server = createServer((socket) => {
      this.accepted++;
      this.sockets.add(socket);
      socket.on("error", () => {});
      socket.once("close", () => this.sockets.delete(socket));
      if (greeting !== "") socket.write(greeting);
      socket.resume();
    });
  }

  get endpoint(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    const closed = once(this.#server, "close");
    this.#server.close();
    await closed;
  }
}
