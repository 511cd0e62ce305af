import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { EventStream } from "../../src/dashboard/event-stream.ts";
import { ManualClock } from "../../src/testing/index.ts";
import { eventually } from "../support/eventually.ts";

/** A stream, and a reader that reads nothing yet. */
async function opened(clock: ManualClock): Promise<{ stream: EventStream; reader: IncomingMessage }> {
  const server: Server = createServer();
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const responding = new Promise<ServerResponse>((resolve) => {
    server.once("request", (_request, response) => resolve(response));
  });
  const reading = new Promise<IncomingMessage>((resolve) => get({ port, host: "127.0.0.1" }, resolve));
  const stream = new EventStream(await responding, clock);
  stream.send("hello", "{}");
  return { stream, reader: await reading };
}

/** Sends until the sockets between hold no more: the stream then waits, and goes on waiting. */
async function flood(stream: EventStream, clock: ManualClock): Promise<void> {
  const text = "x".repeat(1_000_000);
  for (let waits = 0; waits < 20; waits = clock.pending > 0 ? waits + 1 : 0) {
    stream.send("overview", text);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("a reader that is slow misses what a newer event of the same kind replaces", async () => {
  const clock = new ManualClock();
  const { stream, reader } = await opened(clock);
  await flood(stream, clock);
  for (const text of ["1", "2", "3"]) {
    stream.send("beat", text);
    stream.send("overview", text);
  }
  let read = "";
  reader.setEncoding("utf8").on("data", (piece: string) => {
    read += piece;
  });
  await eventually(() => expect(read).toContain("event: overview\ndata: 3\n\n"));
  expect(read.match(/event: beat/g)).toHaveLength(1);
  expect(read).toContain("event: beat\ndata: 3\n\n");
  expect(clock.pending).toBe(0);
  reader.destroy();
});

test("a reader that does not read at all is cut off", async () => {
  const clock = new ManualClock();
  const { stream, reader } = await opened(clock);
  reader.on("error", () => {});
  await flood(stream, clock);
  let ended = false;
  reader.socket.on("close", () => {
    ended = true;
  });
  await clock.advance(14_000);
  expect(ended).toBe(false);
  await clock.advance(2_000);
  reader.resume();
  await eventually(() => expect(ended).toBe(true));
  // Nobody is there to be told more.
  stream.send("beat", "{}");
  stream.end();
  expect(clock.pending).toBe(0);
});
