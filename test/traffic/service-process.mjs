// A member with an HTTP service behind its guard, as a process to be killed, stopped and handed over from:
//   node service-process.mjs ENDPOINT ELECTION NAME TTL MODE PORT
// Only the leader serves. To another a request comes from a balancer that does not know better, or on a connection from
// before a handover; MODE says what its guard does then. The health endpoints are on the port after PORT.
// Standard input takes orders: leave (and join again).
import { once } from "node:events";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { leaderOnly, Member } from "succession";

const [endpoint, election, name, ttl, mode, port] = process.argv.slice(2);
const id = `${name}:127.0.0.1:${port}`;
const say = (text) => process.stdout.write(`${text}\n`);
let member;
let serve = (_request, response) => response.writeHead(503).end();

const service = createServer((request, response) => serve(request, response));
// Nobody but the client ends an idle connection.
service.keepAliveTimeout = 0;
await once(service.listen({ port: Number(port), host: "127.0.0.1", backlog: 1_024 }), "listening");

async function join() {
  member = await Member.join({
    ...{ endpoints: [endpoint], election, id, ttlSeconds: Number(ttl), health: { port: Number(port) + 1 } },
    lead: async ({ token, signal }) => {
      say(`leads ${token}`);
      await once(signal, "abort");
    },
  });
  serve = leaderOnly(member, { otherwise: mode }).listener((request, response) => {
    request.resume();
    response.end(name);
  });
  say(`stands ${id}`);
}

await join();
for await (const _order of createInterface({ input: process.stdin })) {
  await member.leave();
  await join();
}
