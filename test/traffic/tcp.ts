import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";
import { eventually } from "../support/eventually.ts";

/** A TCP service that says its name, then answers every piece with its name and the piece. */
export class NamedService {
  readonly name: string;
  readonly server: Server;
  readonly sockets: Set<Socket> = new Set();
  /** Everything that was ever received. */
  received = "";
  accepted = 0;

  static async start(
    name: string,
    { serve = true, port = 0 }: { readonly serve?: boolean; readonly port?: number } = {},
  ): Promise<NamedService> {
    const service = new NamedService(name, serve);
    service.server.listen(port, "127.0.0.1");
    await once(service.server, "listening");
    return service;
  }

  private constructor(name: string, serve: boolean) {
    this.name = name;
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      this.accepted++;
      this.sockets.add(socket);
      socket.once("close", () => this.sockets.delete(socket));
      socket.on("error", () => {});
      if (!serve) return;
      socket.write(`hello from ${name}\n`);
      socket.on("data", (data) => {
        this.received += data;
        socket.write(`${name}: ${data}`);
      });
      socket.on("end", () => socket.end(`bye from ${name}\n`));
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    if (this.server.listening) await once(this.server, "close");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A client's connection, and what came back on it. */
export class Client {
  readonly socket: Socket;
  text = "";
  /** How it was closed: "end" or the error's code. */
  ended: string | undefined;

  constructor(address: string) {
    const colon = address.lastIndexOf(":");
    const port = Number(address.slice(colon + 1));
    this.socket = createConnection({ host: address.slice(0, colon), port, allowHalfOpen: true });
    this.socket.setEncoding("utf8");
    this.socket.on("data", (text) => {
      this.text += text;
    });
    this.socket.on("end", () => {
      this.ended ??= "end";
    });
    this.socket.on("error", (error: NodeJS.ErrnoException) => {
      this.ended ??= error.code;
    });
  }

  write(text: string): void {
    this.socket.write(text);
  }

  /** Waits until the answer holds this. */
  async sees(piece: string, timeoutMs: number = 10_000): Promise<void> {
    await eventually(
      () => {
        if (!this.text.includes(piece))
          throw new Error(`no ${JSON.stringify(piece)} in ${this.text} (${this.ended})`);
      },
      { timeoutMs },
    );
  }

  /** Waits for the end; how it was. */
  async end(timeoutMs: number = 10_000): Promise<string> {
    return await eventually(
      () => {
        if (this.ended === undefined) throw new Error("the connection still stands");
        return this.ended;
      },
      { timeoutMs },
    );
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
