import { connect } from "node:net";
import { expect, test } from "vitest";
import { Etcd } from "../../src/etcd/etcd.ts";
import { eventWith, execute, succession } from "./succession.ts";

test("dev serves etcd's API, says loudly what it is not for, and ends with 0 on Ctrl-C", async () => {
  await using server = succession(["dev", "--listen", "127.0.0.1:0", "--json"]);
  const { endpoint } = await eventWith(server, { event: "listening" });
  await using etcd = new Etcd({ endpoints: [endpoint] });
  await etcd.put("hello", "world");
  expect(server.stderr).toContain("NOT FOR PRODUCTION");
  const start = performance.now();
  expect(await server.kill("SIGINT")).toEqual({ code: 0, signal: null });
  expect(performance.now() - start).toBeLessThan(2_000);
});

test("a port in use is named in one line, with exit code 1", async () => {
  await using server = succession(["dev", "--listen", "127.0.0.1:0", "--json"]);
  const { endpoint } = await eventWith(server, { event: "listening" });
  const { code, stderr } = await execute(["dev", "--listen", endpoint]);
  const [host, port] = endpoint.split(":");
  expect(code).toBe(1);
  expect(stderr).toBe(`succession dev: port ${port} of ${host} is in use; choose another with --listen`);
});

test("as text it shows what to type next", async () => {
  await using server = succession(["dev", "--listen", "127.0.0.1:0"]);
  const line = await server.waitFor("etcd's v3 API on", 10_000);
  const port = Number(line.split(":").at(-1));
  await server.waitFor(`succession elect /merc a --endpoints 127.0.0.1:${port}`, 10_000);
  await new Promise<void>((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(void socket.destroy())).on("error", reject);
  });
});
