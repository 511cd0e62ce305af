/**
 * A service as the documentation shows it, in a process of its own: a guard that forwards, and on SIGTERM a leave without
 * a failed request.
 *
 *   node guarded-service.mjs NAME ELECTION TTL-SECONDS ENDPOINT…
 */
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { closeServer, leaderOnly, Member } from "succession";

const [name, election, ttl, ...endpoints] = process.argv.slice(2);
const say = (text) => process.stdout.write(`${text}\n`);

const print = (fields, message) => process.stderr.write(`${message} ${fields.error ?? fields.cause ?? ""}\n`);

const server = createServer().listen(0, "127.0.0.1");
await once(server, "listening");
const { port } = server.address();
const member = await Member.join({
  ...{ endpoints, election, id: `${name}:127.0.0.1:${port}`, ttlSeconds: Number(ttl), health: { port: 0 } },
  stopTimeoutMs: Number(ttl) * 250,
  logger: { debug: () => {}, info: () => {}, warn: print, error: print },
  lead: async ({ token, signal }) => {
    say(`leads ${token} at ${process.hrtime.bigint()}`);
    await once(signal, "abort");
  },
});
const guard = leaderOnly(member, { otherwise: "forward" });

/** For the test to hold one term against the next: when the last request of a term was answered, on the clock of all processes. */
let last;
server.on(
  "request",
  guard.listener(async ({ url }, response, { token, signal }) => {
    await sleep(url === "/slow" ? 300 : 5, undefined, { signal }).catch(() => {});
    if (signal.aborted) return void response.writeHead(503).end("the term is over");
    last = { token, at: process.hrtime.bigint() };
    response.end(JSON.stringify({ name, token: Number(token) }));
  }),
);
say(`serves ${port} ${member.healthPort}`);
process.once("SIGTERM", stop);
for await (const { role } of member.changes()) {
  if (role === "standby" && last !== undefined) say(`served ${last.token} until ${last.at}`);
}

async function stop() {
  await member.leave();
  say("left");
  // Balancers need a moment to see that the health endpoints are gone; what they send meanwhile goes to the successor.
  await sleep(2_000);
  await closeServer(server);
  say("closed");
}
