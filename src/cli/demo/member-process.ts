import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Worker } from "node:worker_threads";
import { EndedError } from "../../errors.ts";
import { Member } from "../../member/member.ts";
import { onAbort } from "../../waiting.ts";
import { instant, type Order, type Report } from "./protocol.ts";

/** How often a leader says that it still acts. */
const actingEveryMs = 100;

// The terminal's Ctrl-C reaches the whole process group; the demo decides what becomes of its members.
for (const name of ["SIGINT", "SIGHUP"] as const) process.on(name, () => {});
process.once("disconnect", () => process.kill(process.pid, "SIGKILL"));
new Worker(new URL("./tether.js", import.meta.url));

let member: Member | undefined;
let service: Server | undefined;
/** The token of the term in which this process acts as leader now. */
let acting: bigint | undefined;

process.on("message", (order: Order) => {
  const task = order.on === "stand" ? stand(order) : leave();
  task.catch(async (error: unknown) => {
    await report({ on: "failed", message: error instanceof Error ? error.message : String(error) });
    process.exit(1);
  });
});

async function stand({
  name,
  election,
  ttlSeconds,
  connection,
}: Extract<Order, { on: "stand" }>): Promise<void> {
  service = createServer((_request, response) => {
    const [code, body] = answer(name);
    response.writeHead(code, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
  });
  const listening = service;
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  const address = `127.0.0.1:${(listening.address() as AddressInfo).port}`;
  const id = `${name}:${address}`;
  member = await Member.join({ ...connection, election, id, ttlSeconds, address, zone: name, lead });
  await report({ on: "standing", id, address });
}

/** Business requests are the leader's; a standby says where to go. */
function answer(name: string): [number, object] {
  if (acting !== undefined && member?.role === "leader")
    return [200, { servedBy: name, token: Number(acting) }];
  return [503, { standby: name, leader: member?.leader?.id ?? null }];
}

/** Records honestly when it acted as leader: begun before the first request can be served, ended after the last. */
async function lead(term: { readonly token: bigint; readonly signal: AbortSignal }): Promise<void> {
  const { token, signal } = term;
  void report({ on: "began", token, at: instant() });
  acting = token;
  const timer = setInterval(() => void report({ on: "acting", token, at: instant() }), actingEveryMs);
  await new Promise<void>((resolve) => onAbort(signal, resolve));
  clearInterval(timer);
  acting = undefined;
  const cause = signal.reason instanceof EndedError ? signal.reason.endCause : undefined;
  void report({ on: "ended", token, at: instant(), cause });
}

async function leave(): Promise<void> {
  await member?.leave();
  service?.closeAllConnections();
  // What was reported must arrive before the channel closes; the exit closes everything else.
  await report(undefined);
  process.exit(0);
}

/** Resolves when the report is on its way; never rejects. */
function report(what: Report | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(what ?? { on: "left" }, undefined, {}, () => resolve());
  });
}
