import type { Gateway, GatewayChange } from "../traffic/gateway.ts";
import type { Context } from "./command.ts";
import { printable } from "./output.ts";

/** Tells what a gateway does, as text or as JSON. */
export class GatewayTeller {
  readonly #context: Context;
  readonly #election: string;

  constructor(context: Context, election: string) {
    this.#context = context;
    this.#election = election;
  }

  listening(address: string): void {
    this.#tell({ event: "listening", address }, `listening on ${address}`);
  }

  metrics(address: string): void {
    const url = `http://${address}/metrics`;
    this.#tell({ event: "metrics", address: url }, `metrics at ${url}`);
  }

  /** Resolves when the gateway is closed. */
  async follow(opened: Gateway): Promise<void> {
    for await (const change of opened.changes()) {
      const { at, why = null, leader = null, token = null, address = null } = change;
      this.#tell({ event: at, leader, token, address, why }, asText(change));
    }
  }

  end({ stats }: Gateway): void {
    const { accepted, forwarded, refusedFull, refusedLate } = stats;
    const refused = refusedFull + refusedLate;
    this.#tell({ event: "stats", ...stats }, `${accepted} taken, ${forwarded} passed on, ${refused} refused`);
  }

  trouble(code: string, message: string): void {
    this.#context.output.say(message);
    if (this.#context.arguments.has("json")) this.#tell({ event: "error", why: code, message }, "");
  }

  relief(message: string): void {
    this.#context.output.say(message);
  }

  #tell(
    { event, ...rest }: { readonly event: string; readonly [name: string]: unknown },
    text: string,
  ): void {
    const { output, arguments: args } = this.#context;
    const time = new Date();
    if (args.has("json")) output.json({ event, election: this.#election, ...rest, time: time.toISOString() });
    else output.print(`${time.toLocaleTimeString("sv-SE")}  ${text}`);
  }
}

function asText({ at, why, leader, token, address }: GatewayChange): string {
  const who = leader === undefined ? "nobody" : `${printable(leader)} (token ${token})`;
  if (at === "open") return `open: ${who} leads, at ${printable(address ?? "")}`;
  switch (why) {
    case "stale":
      return "waiting: etcd does not confirm the leader; nothing is passed on";
    case "handover":
      return `waiting: ${who} hands over`;
    case "no-address":
      return `waiting: ${who} tells no address that can be used; see --target`;
    case "no-leader":
      return "waiting: nobody leads";
    default:
      return "waiting: reading the election";
  }
}
