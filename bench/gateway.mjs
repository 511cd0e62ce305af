// What a gateway costs: the same traffic directly, through HAProxy in TCP mode, and through `succession gateway`, in one
// run:
//   npm run bench:gateway -- [--rounds 5] [--requests 2000] [--gib 1]
//
//   latency     one connection, 64 bytes there and 64 back, one after the other
//   throughput  the same on 32 connections
//   connect     a new connection for each request
//   stream      so many GiB from the server to the client, as fast as they come
//
// Client, server and what is between them are a process each. Rounds of the three take turns, so that noise of the
// machine hits all alike.
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { DevServer } from "../dist/devserver/dev-server.js";
import { Etcd } from "../dist/index.js";

const messageBytes = 64;
const connections = 32;

if (process.argv[2] === "server") await serve();
else await measure();

/** Answers every message with one of the same size; `s` and a number asks for a stream of so many bytes instead. */
async function serve() {
  const piece = Buffer.alloc(256 * 1_024, "x");
  const answer = Buffer.alloc(messageBytes, "y");
  const server = createServer({ noDelay: true }, (socket) => {
    let owed = 0;
    socket.on("error", () => {});
    socket.on("data", (data) => {
      if (data[0] === 0x73) pour(socket, Number(data.toString("latin1", 1)));
      else {
        owed += data.length;
        for (; owed >= messageBytes; owed -= messageBytes) socket.write(answer);
      }
    });
  });
  const pour = (socket, left) => {
    let rest = left;
    while (rest > 0) {
      rest -= piece.length;
      if (!socket.write(piece)) {
        socket.once("drain", () => pour(socket, rest));
        return;
      }
    }
    socket.end();
  };
  server.listen(0, "127.0.0.1", () => process.send(server.address().port));
  process.once("disconnect", () => process.exit(0));
}

async function measure() {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "5" },
      requests: { type: "string", default: "2000" },
      gib: { type: "string", default: "1" },
    },
  });
  const [rounds, requests, gib] = [values.rounds, values.requests, values.gib].map(Number);
  const closers = [];
  process.once("exit", () => {
    for (const close of closers) close();
  });
  for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => process.exit(1));

  const server = fork(import.meta.filename, ["server"]);
  closers.push(() => server.kill());
  const [port] = await once(server, "message");
  const ways = {
    direct: port,
    haproxy: await startHaproxy(port, closers),
    gateway: await startGateway(port, closers),
  };
  const names = Object.keys(ways).filter((name) => ways[name] !== undefined);
  const results = Object.fromEntries(
    names.map((name) => [name, { latency: [], throughput: [], connect: [], stream: [] }]),
  );
  for (let round = -1; round < rounds; round++) {
    for (const name of names) {
      const result = results[name];
      const latency = await pingPong(ways[name], requests);
      const throughput = await many(ways[name], requests);
      const fresh = await newConnections(ways[name], Math.ceil(requests / 4));
      const stream = round < 0 ? 0 : await streamed(ways[name], gib * 1_024 ** 3);
      // The first round warms up.
      if (round < 0) continue;
      result.latency.push(...latency);
      result.throughput.push(throughput);
      result.connect.push(...fresh);
      result.stream.push(stream);
    }
  }
  report(results, { rounds, gib });
  process.exit(0);
}

async function startHaproxy(port, closers) {
  const folder = mkdtempSync(join(tmpdir(), "succession-bench-"));
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  const listen = await freePort();
  const config = join(folder, "haproxy.cfg");
  writeFileSync(
    config,
    [
      ...["defaults", "  mode tcp", "  timeout connect 5s", "  timeout client 60s", "  timeout server 60s"],
      ...["listen bench", `  bind 127.0.0.1:${listen}`, `  server one 127.0.0.1:${port}`, ""],
    ].join("\n"),
  );
  const child = spawn("haproxy", ["-db", "-q", "-f", config], { stdio: "ignore" });
  closers.push(() => child.kill("SIGKILL"));
  const missing = await Promise.race([
    once(child, "error").then(() => true),
    reachable(listen).then(() => false),
  ]);
  if (!missing) return listen;
  process.stdout.write("haproxy is not installed: measuring without it\n");
  return undefined;
}

async function startGateway(port, closers) {
  const store = await DevServer.start();
  const etcd = new Etcd({ endpoints: [store.endpoint] });
  await etcd.put("/bench/1", `a:127.0.0.1:${port}`);
  await etcd.close();
  const main = join(import.meta.dirname, "..", "dist", "cli", "main.js");
  const args = ["gateway", "/bench", "--listen", "127.0.0.1:0", "--endpoints", store.endpoint, "--json"];
  const child = spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  closers.push(() => child.kill("SIGKILL"));
  for await (const line of createInterface({ input: child.stdout })) {
    const { event, address } = JSON.parse(line);
    if (event === "listening") return Number(address.split(":")[1]);
  }
  throw new Error("the gateway did not start");
}

/** Milliseconds of each request, one after the other on one connection. */
async function pingPong(port, count) {
  const socket = await opened(port);
  const times = await requestsOn(socket, count);
  socket.destroy();
  return times;
}

/** Requests a second on several connections. */
async function many(port, count) {
  const sockets = await Promise.all(Array.from({ length: connections }, () => opened(port)));
  const start = performance.now();
  await Promise.all(sockets.map((socket) => requestsOn(socket, Math.ceil((count * 4) / connections))));
  const ms = performance.now() - start;
  for (const socket of sockets) socket.destroy();
  return (Math.ceil((count * 4) / connections) * connections * 1_000) / ms;
}

async function newConnections(port, count) {
  const times = [];
  for (let at = 0; at < count; at++) {
    const start = performance.now();
    const socket = await opened(port);
    await requestsOn(socket, 1);
    times.push(performance.now() - start);
    socket.destroy();
  }
  return times;
}

/** GiB a second. */
async function streamed(port, bytes) {
  const socket = await opened(port);
  let received = 0;
  socket.on("data", (data) => {
    received += data.length;
  });
  const start = performance.now();
  socket.write(`s${bytes}`);
  await once(socket, "end");
  const seconds = (performance.now() - start) / 1_000;
  socket.destroy();
  if (received < bytes) throw new Error(`${received} bytes came of ${bytes}`);
  return received / 1_024 ** 3 / seconds;
}

function requestsOn(socket, count) {
  const message = Buffer.alloc(messageBytes, "x");
  const times = [];
  return new Promise((resolve) => {
    let got = 0;
    let start = performance.now();
    const onData = (data) => {
      got += data.length;
      if (got < messageBytes) return;
      got -= messageBytes;
      times.push(performance.now() - start);
      if (times.length === count) {
        socket.off("data", onData);
        resolve(times);
        return;
      }
      start = performance.now();
      socket.write(message);
    };
    socket.on("data", onData);
    socket.write(message);
  });
}

async function opened(port) {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  return socket;
}

async function reachable(port) {
  for (let tries = 0; ; tries++) {
    try {
      (await opened(port)).destroy();
      return;
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function report(results, { rounds, gib }) {
  const quantile = (all, q) => {
    const sorted = [...all].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
  };
  const us = (ms) => (ms * 1_000).toFixed(0).padStart(10);
  const cpu = `${cpus().length} x ${cpus()[0]?.model ?? "CPU"}`;
  const lines = [
    `Node.js ${process.versions.node}, ${cpu}, ${rounds} rounds, ${gib} GiB streams; microseconds`,
    "            p50       p99  added p50  added p99   new p50   new p99     req/s    GiB/s",
  ];
  const { direct, haproxy, gateway } = results;
  const added = (of, q) => quantile(of.latency, q) - quantile(direct.latency, q);
  for (const [name, of] of Object.entries(results)) {
    lines.push(
      [
        name.padEnd(8).slice(0, 8),
        ...[us(quantile(of.latency, 0.5)).slice(1), us(quantile(of.latency, 0.99))],
        ...[` ${us(added(of, 0.5))}`, ` ${us(added(of, 0.99))}`],
        ...[us(quantile(of.connect, 0.5)), us(quantile(of.connect, 0.99))],
        quantile(of.throughput, 0.5).toFixed(0).padStart(10),
        quantile(of.stream, 0.5).toFixed(2).padStart(9),
      ].join(""),
    );
  }
  if (haproxy !== undefined) {
    const ratio = (value) => value.toFixed(2);
    lines.push(
      `gateway : haproxy   added p50 ${ratio(added(gateway, 0.5) / added(haproxy, 0.5))}` +
        `   added p99 ${ratio(added(gateway, 0.99) / added(haproxy, 0.99))}` +
        `   req/s ${ratio(quantile(gateway.throughput, 0.5) / quantile(haproxy.throughput, 0.5))}` +
        `   stream ${ratio(quantile(gateway.stream, 0.5) / quantile(haproxy.stream, 0.5))}`,
    );
  }
  process.stdout.write(`${lines.join("\n")}\n`);
}
