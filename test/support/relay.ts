import { Socket } from "node:net";

/** Which way bytes go: from the client to the target, or from the target to the client. */
export type Direction = "toServer" | "toClient";

/** What a proxy does to its traffic at this moment; relays read it whenever they act. */
export interface Faults {
  toServerMs: number;
  toClientMs: number;
  /** How long a new connection passes nothing. */
  connectMs: number;
  readonly silent: Set<Direction>;
}

/** More than this is not taken in from a sender while it cannot be passed on. */
const heldBytesMax = 16 * 1024 * 1024;

/** One connection through a `TcpProxy`: two sockets, and a pipe each way. */
export class Relay {
  readonly #client: Socket;
  readonly #server: Socket = new Socket({ allowHalfOpen: true });
  readonly #toServer: Pipe;
  readonly #toClient: Pipe;
  readonly #faults: Faults;
  readonly #address: { readonly host: string; readonly port: number };
  #connectTimer: NodeJS.Timeout | undefined;
  #dialled = false;

  /** Settles when both sockets are closed. */
  readonly closed: Promise<void>;

  constructor(client: Socket, address: { readonly host: string; readonly port: number }, faults: Faults) {
    this.#client = client;
    this.#address = address;
    this.#faults = faults;
    this.#server.setNoDelay(true);
    this.#toServer = new Pipe(client, this.#server, "toServer", faults);
    this.#toClient = new Pipe(this.#server, client, "toClient", faults);
    this.closed = Promise.all([client, this.#server].map(whenClosed)).then(() => {
      clearTimeout(this.#connectTimer);
      this.#toServer.drop();
      this.#toClient.drop();
    });
    this.#toClient.open();
    this.#connectTimer = setTimeout(() => {
      this.#connectTimer = undefined;
      this.faultsChanged();
    }, faults.connectMs);
  }

  /** Reads the faults again. */
  faultsChanged(): void {
    const cutOff = this.#faults.silent.has("toServer") && this.#faults.silent.has("toClient");
    if (!this.#dialled && !cutOff && this.#connectTimer === undefined && !this.#server.destroyed) {
      this.#dialled = true;
      this.#server.connect(this.#address, () => this.#toServer.open());
    }
    this.#toServer.regulate();
    this.#toClient.regulate();
  }

  /** Ends both sides by a TCP reset, whatever the faults. */
  reset(): void {
    for (const socket of [this.#client, this.#server]) reset(socket);
  }
}

/** What comes out at the far end, in order: bytes, the end, or a reset. */
type Item = Buffer | "end" | "reset";

/** One direction of a relay. */
class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #direction: Direction;
  readonly #faults: Faults;
  readonly #held: { readonly due: number; readonly item: Item }[] = [];
  #heldBytes = 0;
  #isOpen = false;
  #full = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(from: Socket, to: Socket, direction: Direction, faults: Faults) {
    this.#from = from;
    this.#to = to;
    this.#direction = direction;
    this.#faults = faults;
    from.on("data", (chunk: Buffer) => this.#take(chunk));
    from.on("end", () => this.#take("end"));
    from.on("error", () => this.#take("reset"));
    to.on("drain", () => {
      this.#full = false;
      this.regulate();
    });
    this.regulate();
  }

  /** From now on the far end takes bytes. */
  open(): void {
    this.#isOpen = true;
    this.regulate();
  }

  /** Passes on what may pass now, and reads on only where that can be passed on or held. */
  regulate(): void {
    this.#passDue();
    if (!this.#passes() || this.#heldBytes > heldBytesMax) this.#from.pause();
    else this.#from.resume();
  }

  drop(): void {
    clearTimeout(this.#timer);
    this.#held.length = 0;
  }

  #passes(): boolean {
    return this.#isOpen && !this.#full && !this.#faults.silent.has(this.#direction);
  }

  #take(item: Item): void {
    const delayMs = this.#direction === "toServer" ? this.#faults.toServerMs : this.#faults.toClientMs;
    // Never before what came earlier, also where the delay has just become shorter.
    const due = Math.max(performance.now() + delayMs, this.#held.at(-1)?.due ?? 0);
    this.#held.push({ due, item });
    this.#heldBytes += item.length;
    this.regulate();
  }

  #passDue(): void {
    clearTimeout(this.#timer);
    while (this.#held[0] !== undefined && (this.#passes() || this.#breaksUnopened(this.#held[0].item))) {
      const wait = this.#held[0].due - performance.now();
      if (wait > 0) {
        this.#timer = setTimeout(() => this.regulate(), wait);
        return;
      }
      const { item } = this.#held.shift() as { readonly item: Item };
      this.#heldBytes -= item.length;
      this.#pass(item);
    }
  }

  /** A client that has gone before the far end was reached leaves nothing to wait for. */
  #breaksUnopened(item: Item): boolean {
    return item === "reset" && !this.#isOpen;
  }

  #pass(item: Item): void {
    if (this.#to.destroyed) return;
    if (item === "reset") reset(this.#to);
    else if (item === "end") this.#to.end();
    else if (!this.#to.write(item)) this.#full = true;
  }
}

function reset(socket: Socket): void {
  // A socket that is not connected has nobody to send a reset to.
  if (socket.connecting || socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}

function whenClosed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once("close", () => resolve());
    // A reset that fails, as while the end is still being sent to a peer that is gone, is the last that Node.js tells.
    socket.on("error", ({ syscall }: NodeJS.ErrnoException) => {
      if (syscall === "reset") resolve();
    });
  });
}
