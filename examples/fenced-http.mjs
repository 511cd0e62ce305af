/**
 * An HTTP service that refuses older tokens: the largest one that it has seen is the fence. The leader sends its own with
 * every request, as a guard (`leaderOnly`) does for the requests that it passes on.
 *
 *   node examples/fenced-http.mjs store [PORT]
 *   node examples/fenced-http.mjs writer ID STORE-URL
 */
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Member } from "succession";

const [part = "store", ...rest] = process.argv.slice(2);
const { SUCCESSION_ENDPOINTS: endpoints = "127.0.0.1:2379" } = process.env;
const say = (text) => process.stdout.write(`${text}\n`);
const endings = ["SIGINT", "SIGTERM"];

/** The fence must outlive a restart wherever the data does: keep it beside them. */
function store(port = "0") {
  let fence = 0n;
  let value = "";
  const server = createServer(async (request, response) => {
    const body = (await request.toArray()).join("");
    if (request.method !== "PUT") return void response.end(`${value}\n`);
    const token = BigInt(request.headers["x-succession-token"] ?? 0);
    // Between this check and the change nothing is awaited: the two are one.
    if (token < fence) return void response.writeHead(412).end(`token ${token} is older than ${fence}\n`);
    fence = token;
    value = body;
    response.writeHead(204).end();
  });
  server.listen(Number(port), "127.0.0.1", () => say(`http://127.0.0.1:${server.address().port}`));
  for (const signal of endings) process.once(signal, () => server.close());
}

async function writer(id, url) {
  const put = async (token, body) => {
    const headers = { "x-succession-token": `${token}`, connection: "close" };
    return (await fetch(url, { method: "PUT", headers, body })).ok;
  };
  const member = await Member.join({
    ...{ endpoints: endpoints.split(","), election: "/fenced-http", id, ttlSeconds: 5 },
    lead: async ({ token, signal }) => {
      for (let step = 1; !signal.aborted; step++) {
        say(`${id}: works, token ${token}`);
        await sleep(200);
        say(`${id}: ${(await put(token, `${id}, step ${step}`)) ? "written" : `refused, token ${token}`}`);
      }
    },
  });
  for (const signal of endings) process.once(signal, () => member.leave());
}

if (part === "writer") await writer(...rest);
else store(...rest);
