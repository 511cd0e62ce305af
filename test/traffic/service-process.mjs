// A member with an HTTP service, as a process to be killed, stopped and handed over from:
//   node service-process.mjs ENDPOINT ELECTION NAME TTL
// Only the leader serves. A request that still comes to another, on a connection from before a handover, is passed on to
// the leader and is the last on its connection. Standard input takes orders: leave (and join again), end.
import { createServer, request as send } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Etcd, Member, Observer } from "succession";

const [endpoint, election, name, ttl] = process.argv.slice(2);
const say = (text) => process.stdout.write(`${text}\n`);
const etcd = new Etcd({ endpoints: [endpoint] });
let leader;
let member;

const server = createServer(async (request, response) => {
  request.resume();
  if (member?.role === "leader") {
    const { token } = member.term ?? {};
    response.setHeader("x-token", String(token));
    response.end(name);
    return;
  }
  response.setHeader("x-via", name);
  response.setHeader("connection", "close");
  while (leader === undefined || leader.id === id) await sleep(5);
  const [, host, port] = leader.id.split(":");
  const passed = send({ host, port, path: request.url, agent: false }, (answer) => {
    response.writeHead(answer.statusCode, { "x-token": answer.headers["x-token"] });
    answer.pipe(response);
  });
  passed.on("error", () => response.writeHead(502).end());
  passed.end();
});
// Nobody but the client ends an idle connection.
server.keepAliveTimeout = 0;
await new Promise((resolve) => server.listen({ port: 0, host: "127.0.0.1", backlog: 1_024 }, resolve));
const id = `${name}:127.0.0.1:${server.address().port}`;

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
for await (const order of createInterface({ input: process.stdin })) {
  if (order === "end") process.exit(0);
  await member.leave();
  await join();
}
