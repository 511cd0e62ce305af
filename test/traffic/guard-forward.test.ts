import { once } from "node:events";
import { Agent, createServer, get, type IncomingMessage } from "node:http";
import { connect, createServer as createTcpServer, type Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import { exposition } from "../../src/metric.ts";
import { closeServer } from "../../src/traffic/close-server.ts";
import { leaderOnly } from "../../src/traffic/leader-only.ts";
import { gate, notebook } from "../member/world.ts";
import { eventually } from "../support/eventually.ts";
import { rawHttp } from "../support/raw-http.ts";
import { ask, bench, type Service } from "./service.ts";

const store = bench();
const { line } = store;
const forward = { guard: { otherwise: "forward" } } as const;
const post = ["POST / HTTP/1.1", "Host: x", "Connection: close", "Content-Length: 5"];

describe("a guard that forwards", () => {
  test("passes on methods, headers and bodies both ways, hop-by-hop headers aside", async () => {
    const [a, b] = (await line(["a", "b"], {
      ...forward,
      handle: async (incoming, response, { token }) => {
        const body: Buffer[] = [];
        for await (const piece of incoming) body.push(piece as Buffer);
        response.writeHead(201, "Made", [
          ...["Set-Cookie", "a=1", "Set-Cookie", "b=2", "X-Answer", "yes"],
          ...["Connection", "X-Secret, keep-alive", "X-Secret", "1"],
        ]);
        const { method, url, rawHeaders } = incoming;
        response.end(
          JSON.stringify({ method, url, rawHeaders, token: `${token}`, body: `${Buffer.concat(body)}` }),
        );
      },
    })) as [Service, Service];
    const answer = await rawHttp(
      b.port,
      [
        ...["POST /x?y=1 HTTP/1.1", "Host: service.example", "Content-Length: 5", "X-Mine: 1", "X-Mine: 2"],
        ...["Connection: close, X-Hop", "X-Hop: 1", "TE: trailers", "Upgrade: h2c", "X-Succession-Token: 1"],
        ...["X-Forwarded-For: 192.0.2.9"],
      ],
      "hello",
    );
    const got = JSON.parse(answer.body.replace(/^[^{]*|[^}]*$/g, ""));
    expect([answer.statusLine, got.method, got.url, got.body]).toEqual([
      "HTTP/1.1 201 Made",
      "POST",
      "/x?y=1",
      "hello",
    ]);
    const pairs = (got.rawHeaders as string[]).flatMap((name, i) =>
      i % 2 === 0 ? [`${name}: ${got.rawHeaders[i + 1]}`] : [],
    );
    expect(pairs).toEqual(
      expect.arrayContaining([
        "Host: service.example",
        ...[
          "X-Mine: 1",
          "X-Mine: 2",
          "X-Forwarded-For: 192.0.2.9, 127.0.0.1",
          "X-Forwarded-Host: service.example",
        ],
        ...["Content-Length: 5", `X-Succession-Token: ${got.token}`],
      ]),
    );
    expect(pairs.filter((pair) => /^(x-hop|te|upgrade|x-succession-hops)/i.test(pair))).toEqual([]);
    expect(got.token).toBe(`${a.member.term?.token}`);
    expect([answer.headers.get("x-answer"), answer.headers.has("x-secret")]).toEqual(["yes", false]);
    expect(answer.headers.get("set-cookie")).toBe("b=2");
  });

  test.each(["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"])("passes on %s without a body", async (method) => {
    const [, b] = (await line(["a", "b"], {
      ...forward,
      handle: ({ method: got, headers }, response) => {
        response.setHeader("x-got", `${got} ${headers["content-length"]} ${headers["transfer-encoding"]}`);
        response.end("body");
      },
    })) as [Service, Service];
    const answer = await rawHttp(b.port, [`${method} / HTTP/1.1`, "Host: x", "Connection: close"]);
    const length = method === "PATCH" ? "0" : undefined;
    expect(answer.headers.get("x-got")).toBe(`${method} ${length} undefined`);
    expect(answer.body.includes("body")).toBe(method !== "HEAD");
  });

  test("streams: an answer arrives while it is made, and a large body is held back", async () => {
    const go = gate();
    const total = 256 * 1_024 * 1_024;
    let written = 0;
    const [, b] = (await line(["a", "b"], {
      ...forward,
      handle: async ({ url }, response) => {
        if (url === "/slow") {
          response.write("first");
          await go.opened;
          response.end("second");
          return;
        }
        const piece = Buffer.alloc(65_536);
        const closed = once(response, "close");
        while (written < total) {
          written += piece.length;
          if (!response.write(piece)) await Promise.race([once(response, "drain"), closed]);
          if (response.closed) return;
        }
        response.end();
      },
    })) as [Service, Service];
    const open = async (path: string): Promise<IncomingMessage> => {
      const [answer] = await once(get({ port: b.port, path, agent: false }), "response");
      return answer as IncomingMessage;
    };
    const slow = await open("/slow");
    expect(`${(await once(slow, "data"))[0]}`).toBe("first");
    go.open();
    expect(`${(await once(slow, "data"))[0]}`).toBe("second");
    const large = await open("/large");
    large.pause();
    // Nobody reads: what fits into buffers and sockets goes out, and no more.
    let before = -1;
    await eventually(
      () => {
        const still = written === before;
        before = written;
        expect(still).toBe(true);
      },
      { everyMs: 300 },
    );
    // Two connections on the loopback buffer some 20 MB.
    expect(written).toBeLessThan(total / 4);
    const held = written;
    large.resume();
    await eventually(() => expect(written).toBeGreaterThan(held));
    large.destroy();
  });

  test("holds requests while nobody leads, within its limits, and gives them to whoever leads next", async () => {
    const ready = gate();
    const prepared: string[] = [];
    const prepare = async ({ key }: { key: string }): Promise<void> => {
      prepared.push(key);
      if (prepared.length > 1) await ready.opened;
    };
    const [a, b, c] = (await line(["a", "b", "c"], {
      guard: { otherwise: "forward", hold: { most: 2 } },
      settings: { prepare },
    })) as [Service, Service, Service];
    await a.member.leave();
    await eventually(() => expect(b.member.phase).toBe("promoting"));
    // One comes to the next leader itself, the other one by way of a standby.
    const held = [ask(b), ask(c)];
    await eventually(() => expect(b.guard.held).toBe(2));
    expect(await ask(b)).toMatchObject({ status: 503, body: "nobody leads yet\n" });
    ready.open();
    expect((await Promise.all(held)).map(({ status, body }) => [status, body])).toEqual([
      [200, "b"],
      [200, "b"],
    ]);
    expect([b.guard.held, b.guard.inFlight]).toEqual([0, 0]);
  });

  test("holds a request no longer than its limit, nor when its client has gone", async () => {
    const [a, b] = (await line(["a", "b"], {
      ...{ guard: { otherwise: "forward", hold: { timeoutMs: 1_500 } } },
    })) as [Service, Service];
    await new Promise((resolve) => a.server.close(resolve));
    const answer = ask(b);
    const goes = connect({ port: b.port, host: "127.0.0.1" });
    goes.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await eventually(() => expect(b.guard.held).toBe(2));
    goes.destroy();
    await eventually(() => expect(b.guard.held).toBe(1), { timeoutMs: 1_000 });
    expect(await answer).toMatchObject({ status: 503 });
    expect(b.guard.held).toBe(0);
  });

  test("holds requests while the leader cannot be reached, and tries again", async () => {
    const [a, b, c] = (await line(["a", "b", "c"], forward)) as [Service, Service, Service];
    expect(await ask(b)).toMatchObject({ status: 200, body: "a" });
    await new Promise((resolve) => a.server.close(resolve));
    const held = [ask(b), ask(c), rawHttp(c.port, post, "hello")];
    await eventually(() => expect(b.guard.held + c.guard.held).toBe(3));
    // It is back before its key is gone.
    await new Promise<void>((resolve) => a.server.listen(a.port, "127.0.0.1", resolve));
    expect((await Promise.all(held)).map(({ body }) => body)).toEqual(["a", "a", "a"]);
    await new Promise((resolve) => a.server.close(resolve));
    const next = [ask(b), ask(c), rawHttp(c.port, post, "hello")];
    await eventually(() => expect(b.guard.held + c.guard.held).toBe(3));
    await a.member.leave();
    expect((await Promise.all(next)).map(({ body }) => body)).toEqual(["b", "b", "b"]);
  });

  test("asks the next leader again what can be asked twice, and says 502 to the rest", async () => {
    let asked = 0;
    const [a, b, c] = (await line(["a", "b", "c"], {
      ...forward,
      handle: ({ socket, headers }, response) => {
        asked++;
        if (headers.host === "dies.example" && `${headers["x-succession-token"]}` === first) socket.destroy();
        else response.end("answered");
      },
    })) as [Service, Service, Service];
    const first = `${a.member.term?.token}`;
    const posted = await rawHttp(
      b.port,
      ["POST / HTTP/1.1", "Host: dies.example", "Content-Length: 2", "Connection: close"],
      "hi",
    );
    expect([posted.status, asked]).toEqual([502, 1]);
    expect(posted.body).toMatch(/^the leader at 127\.0\.0\.1:\d+ has not answered: /);
    const got = rawHttp(c.port, ["GET / HTTP/1.1", "Host: dies.example", "Connection: close"]);
    await eventually(() => expect(asked).toBeGreaterThan(2));
    await a.member.leave();
    expect(await got).toMatchObject({ status: 200, body: "answered" });
  });

  test("asks again when the leader hangs and another one leads", async () => {
    const hang = gate();
    const [a, b, c] = (await line(["a", "b", "c"], {
      ...forward,
      settings: { stopTimeoutMs: 0 },
      handle: async (_request, response, { token }) => {
        if (`${token}` === first) await hang.opened;
        response.end("answered");
      },
    })) as [Service, Service, Service];
    const first = `${a.member.term?.token}`;
    const got = ask(c);
    await eventually(() => expect(a.guard.inFlight).toBe(1));
    // As if its machine had stopped: its key goes, its connections stay.
    const { etcd } = { etcd: new Etcd({ endpoints: [store.endpoint] }) };
    await etcd.delete(a.member.term?.key ?? "");
    await eventually(() => expect(b.member.role).toBe("leader"));
    expect(await got).toMatchObject({ status: 200, body: "answered" });
    hang.open();
    await etcd.close();
  });

  test("says 504 where the leader does not answer in time", async () => {
    const [, b] = (await line(["a", "b"], {
      guard: { otherwise: "forward", answerTimeoutMs: 200 },
      settings: { stopTimeoutMs: 0 },
      handle: () => {},
    })) as [Service, Service];
    expect(await ask(b)).toMatchObject({
      status: 504,
      body: expect.stringContaining("no answer within 200 ms"),
    });
  });

  test("breaks off an answer in whose middle the leader stops, tells it once, and counts it", async () => {
    const { logger, said } = notebook();
    const [, b] = (await line(["a", "b"], {
      guard: { otherwise: "forward", answerTimeoutMs: 200 },
      settings: { stopTimeoutMs: 0, logger },
      handle: (_request, response) => {
        response.writeHead(200, { "content-length": 100 });
        response.write("half");
      },
    })) as [Service, Service];
    const got = async (): Promise<Error> => {
      const [answer] = (await once(get({ port: b.port, agent: false }), "response")) as [IncomingMessage];
      return await answer.toArray().then(
        () => new Error("it ended well"),
        (error) => error,
      );
    };
    expect(await Promise.all([got(), got()])).toMatchObject([{ code: "ECONNRESET" }, { code: "ECONNRESET" }]);
    const told = said.filter(({ message }) => message.startsWith("the leader stopped in the middle"));
    expect(told).toHaveLength(1);
    // A second guard of the same member must not tell each number twice.
    leaderOnly(b.member);
    const text = exposition(b.member.metrics());
    expect(text.match(/^succession_guard_held\{/gm)).toHaveLength(1);
    expect(text).toMatch(/^succession_guard_failures_total\{.*,reason="stalled"\} 2$/m);
    expect(text).toMatch(/^succession_guard_forwarded_total\{.*\} 2$/m);
    expect(text).toMatch(/^succession_guard_held\{.*\} 0$/m);
  });

  test("says 504 where the leader takes a request and reads no more of it", async () => {
    const [, b] = (await line(["a", "b"], {
      guard: { otherwise: "forward", answerTimeoutMs: 300 },
      settings: { stopTimeoutMs: 0 },
      handle: () => {},
    })) as [Service, Service];
    const socket = connect({ port: b.port, host: "127.0.0.1" });
    socket.on("error", () => {});
    socket.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 67108864\r\n\r\n");
    socket.write(Buffer.alloc(67_108_864));
    const [answer] = await once(socket, "data");
    expect(`${answer}`).toMatch(/^HTTP\/1.1 504 /);
    expect(`${answer}`).toContain("no answer, and no reading, within 300 ms");
    expect(exposition(b.guard.metrics())).toMatch(/^succession_guard_failures_total\{.*"late"\} 1$/m);
    socket.destroy();
  });

  test("says why, where the leader could not be reached for as long as a request may wait", async () => {
    const { logger, said } = notebook();
    const [a, b] = (await line(["a", "b"], {
      guard: { otherwise: "forward", hold: { timeoutMs: 300 } },
      settings: { logger },
    })) as [Service, Service];
    await new Promise((resolve) => a.server.close(resolve));
    const { status, body } = await ask(b);
    expect([status, body]).toEqual([
      503,
      expect.stringMatching(/^a:.* leads at 127\.0\.0\.1:\d+, and has not answered: connect ECONNREFUSED /),
    ]);
    expect(said.filter(({ message }) => message.startsWith("a request could not be passed on"))).toHaveLength(
      1,
    );
    const text = exposition(b.guard.metrics());
    expect(text).toMatch(/"unreachable"\} [1-9]/);
    expect(text).toMatch(/"waited"\} 1$/m);
  });

  test.each(["200 o\0k", "099 low"])(
    "says 502 to an answer of %j, which cannot be passed on",
    async (odd) => {
      const election = store.election();
      const leader = createTcpServer((socket) =>
        socket.on("error", () => {}).once("data", () => socket.end(`HTTP/1.1 ${odd}\r\nX: 1\r\n\r\n`)),
      );
      await once(leader.listen(0, "127.0.0.1"), "listening");
      const etcd = new Etcd({ endpoints: [store.endpoint] });
      await etcd.put(`${election}/1`, `odd:127.0.0.1:${(leader.address() as { port: number }).port}`);
      const b = await store.start({ election, name: "b", ...forward });
      expect(await ask(b)).toMatchObject({
        statusLine: "HTTP/1.1 502 Bad Gateway",
        body: expect.stringContaining("its answer cannot be passed on: Invalid "),
      });
      await etcd.close();
      leader.close();
    },
  );

  test("breaks off an answer that breaks off", async () => {
    const [, b] = (await line(["a", "b"], {
      ...forward,
      handle: (_request, response) => {
        response.writeHead(200, { "content-length": 100 });
        response.write("half", () => response.destroy());
      },
    })) as [Service, Service];
    const [answer] = (await once(get({ port: b.port, agent: false }), "response")) as [IncomingMessage];
    await expect(answer.toArray()).rejects.toMatchObject({ code: "ECONNRESET" });
  });

  test("refuses what goes in circles", async () => {
    const name = store.election();
    const c = await store.start({ election: name, name: "c", ...forward });
    // A leader whose address leads to a standby.
    const loop = await Member.join({
      ...{ endpoints: [store.endpoint], election: name, id: "loop", address: `127.0.0.1:${c.port}` },
    });
    await eventually(() => expect(c.member.line).toHaveLength(2));
    const etcd = new Etcd({ endpoints: [store.endpoint] });
    await etcd.delete(c.member.term?.key ?? "");
    await eventually(() => expect([loop.role, c.member.phase]).toEqual(["leader", "waiting"]));
    const answer = await ask(c);
    expect([answer.status, answer.body]).toEqual([
      508,
      `members have passed this on 5 times; loop leads at 127.0.0.1:${c.port}, and does not get it\n`,
    ]);
    await etcd.close();
    await loop.leave();
  });

  test("after its member has left still passes on what comes on a kept connection, as its last", async () => {
    const [a, b] = (await line(["a", "b"], forward)) as [Service, Service];
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const next = async (): Promise<[string, string | undefined, boolean]> => {
      const outgoing = get({ port: a.port, agent });
      const [answer] = (await once(outgoing, "response")) as [IncomingMessage];
      return [`${await answer.toArray()}`, answer.headers.connection, outgoing.reusedSocket];
    };
    expect(await next()).toEqual(["a", "keep-alive", false]);
    await a.member.leave();
    expect(await next()).toEqual(["b", "close", true]);
    expect(await next()).toEqual(["b", "close", false]);
    expect(b.guard.inFlight).toBe(0);
    agent.destroy();
  });

  test("holds what comes while its member leaves, and gives it to the successor", async () => {
    const finish = gate();
    const [a, b] = (await line(["a", "b"], {
      ...forward,
      settings: { stopTimeoutMs: 5_000 },
      handle: async ({ url }, response, { token }) => {
        if (url === "/slow") await finish.opened;
        response.end(`${token}`);
      },
    })) as [Service, Service];
    const first = `${a.member.term?.token}`;
    const slow = rawHttp(a.port, ["GET /slow HTTP/1.1", "Host: x"]);
    await eventually(() => expect(a.guard.inFlight).toBe(1));
    const leaving = a.member.leave();
    const held = [ask(a), ask(b)];
    await eventually(() => expect(a.guard.held + b.guard.held).toBeGreaterThanOrEqual(2));
    finish.open();
    // Its answer had not begun, so it could say that it is the last one.
    expect(await slow).toMatchObject({ status: 200, body: first });
    await leaving;
    const second = `${b.member.term?.token}`;
    expect((await Promise.all(held)).map(({ status, body }) => [status, body])).toEqual([
      [200, second],
      [200, second],
    ]);
  });

  test("closeServer leaves open connections their last answer", async () => {
    const [a] = (await line(["a", "b"], forward)) as [Service, Service];
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const next = async (): Promise<string> => {
      const [answer] = (await once(get({ port: a.port, agent }), "response")) as [IncomingMessage];
      return `${await answer.toArray()}`;
    };
    expect(await next()).toBe("a");
    await a.member.leave();
    const closed = closeServer(a.server);
    await expect(ask(a)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect(await next()).toBe("b");
    await closed;
    agent.destroy();
  });
});

describe("a connection that is upgraded", () => {
  const echo = (service: Service): void => {
    service.server.on(
      "upgrade",
      service.guard.upgrade(({ headers }, socket, head, { signal }) => {
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        socket.write(`${service.name} ${headers["x-succession-token"]}\n${head}`);
        socket.pipe(socket);
        signal.addEventListener("abort", () => socket.end("bye\n"), { once: true });
      }),
    );
  };

  const lines = ["GET /chat HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: echo"];

  async function open({ port }: { readonly port: number }): Promise<{ socket: Socket; text: () => string }> {
    const socket = connect({ port, host: "127.0.0.1" });
    let text = "";
    socket.setEncoding("utf8").on("data", (piece) => {
      text += piece;
    });
    socket.write(`${lines.join("\r\n")}\r\n\r\n`);
    return { socket, text: () => text };
  }

  const connectionsOf = ({ server }: Service): Promise<number> =>
    new Promise((resolve) => server.getConnections((_error, count) => resolve(count)));

  test.each([
    ["at the leader", 0],
    ["by way of a standby", 1],
  ])("%s speaks both ways, and ends with the term", async (_title, at) => {
    const started = await line(["a", "b"], { ...forward, settings: { stopTimeoutMs: 2_000 } });
    for (const service of started) echo(service);
    const [a] = started as [Service];
    const token = a.member.term?.token;
    const { socket, text } = await open(started[at] as Service);
    await eventually(() => expect(text()).toMatch(new RegExp(`^HTTP/1.1 101 [^]*\\r\\n\\r\\na ${token}\n$`)));
    socket.write("hello\n");
    await eventually(() => expect(text()).toMatch(/hello\n$/));
    expect(a.guard.inFlight).toBe(1);
    const closed = once(socket, "close");
    // It would go on for ever, so it is told at once, and nobody waits for the budget.
    await a.member.leave();
    await closed;
    expect(text()).toMatch(/bye\n$/);
  });

  test("is ended by closeServer when the time is over, whoever upgraded it", async () => {
    const [a, b] = (await line(["a", "b"], forward)) as [Service, Service];
    echo(a);
    echo(b);
    const passedOn = await open(b);
    await eventually(() => expect(passedOn.text()).toMatch(/^HTTP\/1.1 101 /));
    const closed = once(passedOn.socket, "close");
    await closeServer(b.server, { timeoutMs: 50 });
    await closed;
    // Of one that a listener of the service's own has taken it knows nothing, and still does not wait for ever.
    const others = createServer().listen(0, "127.0.0.1");
    others.on("upgrade", (_request, socket) => socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    await once(others, "listening");
    const { socket, text } = await open(others.address() as { port: number });
    await eventually(() => expect(text()).toMatch(/^HTTP\/1.1 101 /));
    await closeServer(others, { timeoutMs: 50 });
    socket.destroy();
    await expect(closeServer(others, { timeoutMs: Number.NaN })).rejects.toThrow(/^timeoutMs must be/);
  });

  test("to a leader who hangs is ended when another one leads", async () => {
    const election = store.election();
    const hung = createServer().on("upgrade", (_request, socket) => {
      const head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
      socket.on("error", () => {}).write(head);
    });
    await once(hung.listen(0, "127.0.0.1"), "listening");
    const etcd = new Etcd({ endpoints: [store.endpoint] });
    const { port } = hung.address() as { port: number };
    await etcd.put(`${election}/1`, `hung:127.0.0.1:${port}`);
    const b = await store.start({ election, name: "b", ...forward });
    const c = await store.start({ election, name: "c", ...forward });
    echo(b);
    echo(c);
    const { socket, text } = await open(c);
    await eventually(() => expect(text()).toMatch(/^HTTP\/1.1 101 /));
    const closed = once(socket, "close");
    await etcd.delete(`${election}/1`);
    await closed;
    expect(b.member.role).toBe("leader");
    await etcd.close();
    hung.closeAllConnections();
    hung.close();
  });

  test("is refused by a standby that does not forward", async () => {
    const [, b] = (await line(["a", "b"])) as [Service, Service];
    echo(b);
    const { statusLine, headers } = await rawHttp(b.port, lines);
    expect([statusLine, headers.get("connection")]).toEqual(["HTTP/1.1 503 Service Unavailable", "close"]);
    // Also where the client does not end its half.
    const socket = connect({ port: b.port, host: "127.0.0.1", allowHalfOpen: true });
    socket.resume().write(`${lines.join("\r\n")}\r\n\r\n`);
    await once(socket, "end");
    await eventually(async () => expect(await connectionsOf(b)).toBe(0));
    socket.destroy();
  });

  test("is answered as the leader answers where he does not upgrade it", async () => {
    const [a, b] = (await line(["a", "b"], forward)) as [Service, Service];
    a.server.on(
      "upgrade",
      a.guard.upgrade((_request, socket) =>
        socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
      ),
    );
    echo(b);
    expect(await rawHttp(b.port, lines)).toMatchObject({ status: 403, body: "no" });
  });
});
