import { once } from "node:events";
import { expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd } from "../../src/etcd/etcd.ts";
import { openFilesLimit } from "../../src/traffic/open-files.ts";
import { succession } from "../cli/succession.ts";
import { Client, NamedService } from "./tcp.ts";

/** Two files for each connection, here as in the gateway's process. */
const count = Math.min(10_000, Math.floor(((openFilesLimit() ?? 4_096) - 200) / 2));

test(`${count} idle connections stand through a gateway`, { timeout: 600_000 }, async () => {
  await using server = await DevServer.start();
  await using etcd = new Etcd({ endpoints: [server.endpoint] });
  await using service = await NamedService.start("one");
  await etcd.put("/idle/1", `a:${service.address}`);
  const args = ["gateway", "/idle", "--listen", "127.0.0.1:0", "--endpoints", server.endpoint, "--json"];
  await using child = succession(args);
  const { address } = JSON.parse(await child.waitFor("listening", 60_000));
  const clients: Client[] = [];
  while (clients.length < count) {
    const some = Array.from({ length: Math.min(100, count - clients.length) }, () => new Client(address));
    clients.push(...some);
    await Promise.all(some.map((client) => once(client.socket, "data")));
  }
  for (const [at, client] of clients.entries()) client.write(`${at};`);
  for (const [at, client] of clients.entries()) await client.sees(`one: ${at};`, 60_000);
  child.signal("SIGTERM");
  for (const client of clients) client.socket.end();
  expect(await child.exit).toEqual({ code: 0, signal: null });
  const stats = JSON.parse(child.lines.at(-1) ?? "");
  expect(stats).toMatchObject({ event: "stats", accepted: count, forwarded: count, broken: 0 });
});
