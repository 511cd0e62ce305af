import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { eventually } from "./eventually.ts";
import { TcpProxy, type TcpProxyOptions } from "./tcp-proxy.ts";

let echo: Server;
const echoed = new Set<Socket>();
const clients: Socket[] = [];
const proxies: TcpProxy[] = [];

beforeEach(async () => {
  echo = createServer((socket) => {
    echoed.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => echoed.delete(socket));
    socket.pipe(socket);
  }).listen(0, "127.0.0.1");
  await once(echo, "listening");
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
  for (const socket of echoed) socket.destroy();
  await new Promise((resolve) => echo.close(resolve));
});

async function startProxy(options: Partial<TcpProxyOptions> = {}): Promise<TcpProxy> {
  const proxy = await TcpProxy.start({
    target: `127.0.0.1:${(echo.address() as AddressInfo).port}`,
    ...options,
  });
  proxies.push(proxy);
  return proxy;
}

/** A client, what it has received, and the code of the error that ended it. */
class Client {
  readonly socket: Socket;
  text = "";
  error: string | undefined;

  constructor(proxy: TcpProxy) {
    const [host, port] = proxy.endpoint.split(":");
    this.socket = createConnection({ host: host as string, port: Number(port) });
    this.socket.setEncoding("utf8").on("data", (text) => {
      this.text += text;
    });
    this.socket.on("error", (error: NodeJS.ErrnoException) => {
      this.error = error.code;
    });
    clients.push(this.socket);
  }

  async receives(text: string): Promise<void> {
    await eventually(() => expect(this.text).toBe(text));
  }
}

/** Longer than anything on loopback takes when nothing holds it back. */
const quiet = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 80));

test("passes bytes both ways and counts connections", async () => {
  const proxy = await startProxy();
  const one = new Client(proxy);
  const two = new Client(proxy);
  one.socket.write("one");
  two.socket.write("two");
  await one.receives("one");
  await two.receives("two");
  expect([proxy.openConnections, proxy.acceptedConnections]).toEqual([2, 2]);
  one.socket.end();
  await once(one.socket, "close");
  await eventually(() => expect(proxy.openConnections).toBe(1));
  expect(proxy.acceptedConnections).toBe(2);
});

test("delays each way and keeps the order, also when the delay is taken back", async () => {
  const proxy = await startProxy();
  const client = new Client(proxy);
  client.socket.write("0");
  await client.receives("0");
  proxy.delay({ toServerMs: 120, toClientMs: 80 });
  const start = performance.now();
  client.socket.write("1");
  await client.receives("01");
  expect(performance.now() - start).toBeGreaterThan(195);
  client.socket.write("2");
  await quiet();
  await proxy.heal();
  client.socket.write("3");
  await client.receives("0123");
});

test("passes nothing on a new connection before its connect delay", async () => {
  const proxy = await startProxy({ connectDelayMs: 150 });
  const client = new Client(proxy);
  await once(client.socket, "connect");
  const start = performance.now();
  client.socket.write("hello");
  await client.receives("hello");
  expect(performance.now() - start).toBeGreaterThan(140);
  const again = performance.now();
  client.socket.write("!");
  await client.receives("hello!");
  expect(performance.now() - again).toBeLessThan(140);
});

test("a black hole withholds everything, hides the end of the server, and delivers when healed", async () => {
  const proxy = await startProxy();
  const client = new Client(proxy);
  client.socket.write("before ");
  await client.receives("before ");
  await proxy.blackHole();
  client.socket.write("during");
  const late = new Client(proxy);
  late.socket.write("late");
  await once(late.socket, "connect");
  await quiet();
  expect([client.text, late.text]).toEqual(["before ", ""]);
  await proxy.heal();
  await client.receives("before during");
  await late.receives("late");

  await proxy.blackHole();
  for (const socket of echoed) socket.resetAndDestroy();
  await quiet();
  expect([client.error, client.socket.destroyed, proxy.openConnections]).toEqual([undefined, false, 2]);
  await proxy.heal();
  await eventually(() => expect([client.error, late.error]).toEqual(["ECONNRESET", "ECONNRESET"]));
});

test.runIf(process.platform === "linux")("a deaf black hole leaves connects without an answer", async () => {
  const proxy = await startProxy();
  await proxy.blackHole({ accept: false });
  const client = new Client(proxy);
  await quiet();
  expect([client.socket.connecting, client.error]).toEqual([true, undefined]);
  await proxy.heal();
  const next = new Client(proxy);
  next.socket.write("hello");
  await next.receives("hello");
  // The kernel asks again after a second.
  client.socket.write("first");
  await client.receives("first");
});

test.each(["toServer", "toClient"] as const)("half open, only bytes %s pass", async (passing) => {
  const proxy = await startProxy();
  const client = new Client(proxy);
  client.socket.write("0");
  await client.receives("0");
  proxy.halfOpen(passing);
  let atServer = "";
  const [server] = [...echoed];
  server?.on("data", (chunk) => {
    atServer += chunk;
  });
  client.socket.write("1");
  server?.write("2");
  await quiet();
  expect([atServer, client.text]).toEqual(passing === "toServer" ? ["1", "0"] : ["", "02"]);
  await proxy.heal();
  await eventually(() => expect([...client.text].sort().join("")).toBe("012"));
});

test("resets every connection and serves new ones", async () => {
  const proxy = await startProxy();
  const client = new Client(proxy);
  client.socket.write("0");
  await client.receives("0");
  proxy.resetAll();
  await eventually(() => expect(client.error).toBe("ECONNRESET"));
  await eventually(() => expect([proxy.openConnections, echoed.size]).toEqual([0, 0]));
  const next = new Client(proxy);
  next.socket.write("1");
  await next.receives("1");
});

test("refuses new connections while open ones go on, until healed", async () => {
  const proxy = await startProxy();
  const client = new Client(proxy);
  client.socket.write("0");
  await client.receives("0");
  await proxy.refuse();
  const refused = new Client(proxy);
  await eventually(() => expect(refused.error).toBe("ECONNREFUSED"));
  client.socket.write("1");
  await client.receives("01");
  await proxy.heal();
  const next = new Client(proxy);
  next.socket.write("2");
  await next.receives("2");
});

test("a target that does not listen shows as a reset", async () => {
  const proxy = await startProxy({ target: "127.0.0.1:1" });
  const client = new Client(proxy);
  await eventually(() => expect(client.error).toBe("ECONNRESET"));
  expect(proxy.openConnections).toBe(0);
});

test("passes megabytes unharmed through a slow reader and a delay", async () => {
  const proxy = await startProxy();
  proxy.delay(5);
  const client = new Client(proxy);
  const sent = "0123456789abcdef".repeat(512 * 1024);
  client.socket.pause();
  client.socket.write(sent);
  await quiet();
  client.socket.resume();
  await eventually(() => expect(client.text.length).toBe(sent.length));
  expect(client.text === sent).toBe(true);
});

const blackHoles = process.platform === "linux" ? [{ accept: true }, { accept: false }] : [{ accept: true }];

test.each(blackHoles)("closing leaves no connection in a black hole, %o", async (how) => {
  const proxy = await startProxy();
  const client = new Client(proxy);
  client.socket.write("0");
  await client.receives("0");
  await proxy.blackHole();
  const silent = new Client(proxy);
  await once(silent.socket, "connect");
  await proxy.blackHole(how);
  await proxy.close();
  expect(proxy.openConnections).toBe(0);
  await eventually(() => expect([client.socket.destroyed, silent.socket.destroyed]).toEqual([true, true]));
  await expect(proxy.heal()).rejects.toThrow("closed");
});
