import { expect, test } from "vitest";
import { Etcd } from "../../src/etcd/etcd.ts";
import { TestServer, type TestServerOptions } from "../../src/testing/index.ts";
import { eventually } from "../support/eventually.ts";
import { Child } from "../support/processes.ts";

const built = new URL("../../dist/testing/index.js", import.meta.url).href;

const run = (code: string): Child =>
  Child.start({
    args: ["--input-type=module", "-e", `import { TestServer } from ${JSON.stringify(built)};\n${code}`],
  });

test.each([
  ["nothing used it", "const etcd = await TestServer.start(); await etcd.close();"],
  [
    "requests are withheld",
    `const etcd = await TestServer.start();
     const client = etcd.client();
     await client.put("/x", "1");
     etcd.silent({ only: "requests" });
     const put = client.put("/x", "2").catch(() => {});
     await Promise.all([etcd.close(), put]);`,
  ],
  [
    "answers are delayed for an hour",
    `const etcd = await TestServer.start();
     const client = etcd.client();
     await client.put("/x", "1");
     etcd.delay(3_600_000);
     await client.put("/x", "2", { timeoutMs: 200 }).catch(() => {});
     await etcd.close();`,
  ],
  ["it refuses", "const etcd = await TestServer.start(); await etcd.refuse(); await etcd.close();"],
  [
    "it restarts",
    "const etcd = await TestServer.start(); const back = etcd.restart(); await etcd.close(); await back;",
  ],
])("after close the process ends by itself, also while %s", async (_, code) => {
  const child = run(code);
  expect(await child.exit).toEqual({ code: 0, signal: null });
  expect(child.stderr).toBe("");
});

test("a port in use is a bad option that says which", async () => {
  await using first = await TestServer.start();
  const port = Number(first.endpoint.split(":")[1]);
  const inUse = { code: "BAD_OPTION", message: expect.stringContaining(first.endpoint) };
  await expect(TestServer.start({ port })).rejects.toMatchObject(inUse);
  await expect(first.link({ port })).rejects.toMatchObject(inUse);
});

test.each([
  [{ port: 65_536 }, "port must be an integer from 0 to 65535, got 65536"],
  [{ host: "" }, 'host must be an address of this machine, got ""'],
  [{ tls: {} }, 'options must be without unknown fields, got "tls"'],
])("start(%j) is refused", async (options, message) => {
  await expect(TestServer.start(options as TestServerOptions)).rejects.toMatchObject({
    code: "BAD_OPTION",
    message,
  });
});

test("after a refusal it serves at the same address", async () => {
  await using server = await TestServer.start();
  await using etcd = new Etcd({ endpoints: [server.endpoint] });
  await etcd.put("/x", "1");
  await Promise.all([server.refuse(), server.heal(), server.refuse()]);
  await expect(etcd.put("/x", "2", { timeoutMs: 300 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
  await server.heal();
  await eventually(() => etcd.put("/x", "3"));
});

test("a new client of a silent server waits, and is served after heal", async () => {
  await using server = await TestServer.start();
  server.silent();
  await using etcd = new Etcd({ endpoints: [server.endpoint] });
  await expect(etcd.ready({ timeoutMs: 300 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
  await server.heal();
  await etcd.ready({ timeoutMs: 10_000 });
});

test("a watch is told everything in order after it was delayed", async () => {
  await using server = await TestServer.start();
  const etcd = server.client();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { events } of etcd.watch({ key: "/x", startRevision: 2n })) {
      seen.push(...events.map(({ kv }) => Buffer.from(kv?.value ?? []).toString()));
    }
  })().catch((error) => error);
  await etcd.put("/x", "1");
  await eventually(() => expect(seen).toEqual(["1"]));
  server.delay(60_000, { only: "watches" });
  for (const value of ["2", "3"]) await etcd.put("/x", value);
  server.delay(0, { only: "watches" });
  await etcd.put("/x", "4");
  expect(seen).toEqual(["1"]);
  await server.heal();
  await eventually(() => expect(seen).toEqual(["1", "2", "3", "4"]));
  await server.close();
  expect(await watching).toMatchObject({ code: "CLOSED" });
});
