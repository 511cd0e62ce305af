// A member with an HTTP service, as a process to be killed, stopped and handed over from:
//   node service-process.mjs ENDPOINT ELECTION NAME TTL MODE PORT
// Only the leader serves. To another a request comes from a balancer that does not know better, or on a connection from
// before a handover. MODE says what he does: he refuses it with 503, or passes it on, as soon as there is a leader, and
// says that it is the last on its connection. /leader and /health on the port after PORT are for balancers to look at.
// Standard input takes orders: leave (and join again).
import { createServer, request as send } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Etcd, Member, Observer } from "succession";

const [endpoint, election, name, ttl, mode, port] = process.argv.slice(2);
const id = `${name}:127.0.0.1:${port}`;
const say = (text) => process.stdout.write(`${text}\n`);
const etcd = new Etcd({ endpoints: [endpoint] });
let leader;
let member;

const service = createServer((request, response) => {
  request.resume();
  if (member?.role === "leader") response.end(name);
  else if (mode === "refuse") response.writeHead(503, { "retry-after": "1" }).end(`${name} does not lead`);
  else void pass(request.url, response);
});
const health = createServer(({ url }, response) => {
  const well = member !== undefined && (url === "/health" || member.role === "leader");
  response.writeHead(well ? 200 : 503).end();
});
// Nobody but the client ends an idle connection.
service.keepAliveTimeout = 0;
await listen(service, Number(port));
await listen(health, Number(port) + 1);

function listen(server, port) {
  return new Promise((resolve) => server.listen({ port, host: "127.0.0.1", backlog: 1_024 }, resolve));
}

/** Tries until the leader answers: he may have died a moment ago. */
async function pass(path, response) {
  response.setHeader("x-via", name);
  response.setHeader("connection", "close");
  for (; !response.destroyed; await sleep(20)) {
    if (leader === undefined || leader.id === id) continue;
    const [, host, port] = leader.id.split(":");
    const answer = await new Promise((resolve) => {
      const passed = send({ host, port, path, agent: false, timeout: 5_000 }, resolve);
      passed.on("timeout", () => passed.destroy());
      passed.on("error", () => resolve(undefined));
      passed.end();
    });
    if (answer === undefined) continue;
    response.writeHead(answer.statusCode);
    answer.pipe(response);
    return;
  }
}

async function observe() {
  for await (const now of new Observer(etcd, election).observe()) leader = now;
}

async function join() {
  const lead = async ({ token, signal }) => {
    say(`leads ${token}`);
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  };
  member = await Member.join({ endpoints: [endpoint], election, id, ttlSeconds: Number(ttl), lead });
  say(`stands ${id}`);
}

void observe();
await join();
for await (const _order of createInterface({ input: process.stdin })) {
  await member.leave();
  await join();
}
