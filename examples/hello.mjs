/**
 * Hello, succession: an HTTP server of which any number may run, and exactly one answers.
 *
 *   node examples/hello.mjs ID [PORT]
 *
 * Start it twice, ask both, then stop the one that answers. etcd is expected at 127.0.0.1:2379, or where
 * SUCCESSION_ENDPOINTS says; `npx succession dev` will do.
 */
import { createServer } from "node:http";
import { Member } from "succession";

const [id = `hello:${process.pid}`, port = "0"] = process.argv.slice(2);
const { SUCCESSION_ENDPOINTS: endpoints = "127.0.0.1:2379" } = process.env;
const say = (text) => process.stdout.write(`${id}: ${text}\n`);

const member = await Member.join({
  endpoints: endpoints.split(","),
  election: "/hello",
  id,
  ttlSeconds: 5,
  // The leader's work. It lasts until its signal aborts; the lead is given up when it returns or throws.
  lead: async ({ token, signal }) => {
    say(`leading, token ${token}`);
    await new Promise((stop) => signal.addEventListener("abort", stop));
    say(`led until: ${signal.reason.endCause}`);
  },
});

const server = createServer((_request, response) => {
  // Asked at each request, because leadership is a deadline: a process that was stopped knows it at once.
  if (member.role === "leader") response.end(`hello from ${id}\n`);
  else response.writeHead(503).end(`${id} stands by for ${member.leader?.id ?? "nobody"}\n`);
});
server.listen(Number(port), "127.0.0.1", () => say(`http://127.0.0.1:${server.address().port}`));

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await member.leave();
    server.close();
    server.closeAllConnections();
  });
}
