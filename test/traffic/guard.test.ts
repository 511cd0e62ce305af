import { once } from "node:events";
import { Agent, get, type IncomingMessage, request } from "node:http";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Member } from "../../src/member/member.ts";
import type { Admission } from "../../src/traffic/admissions.ts";
import type { LeaderOnlyOptions } from "../../src/traffic/guard-options.ts";
import { leaderOnly } from "../../src/traffic/leader-only.ts";
import { gate, notebook } from "../member/world.ts";
import { eventually } from "../support/eventually.ts";
import { type RawAnswer, rawHttp } from "../support/raw-http.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { type Service, type ServiceOptions, startService } from "./service.ts";

let server: DevServer;
let elections = 0;
const services: Service[] = [];
beforeAll(async () => {
  server = await DevServer.start();
});
afterEach(() => Promise.all(services.splice(0).map((service) => service.close())));
afterAll(() => server.close());

type Pieces = Omit<ServiceOptions, "endpoint" | "election" | "name">;

/** A leader and those behind it, in this order. */
async function line(names: readonly string[], pieces: Pieces = {}, endpoint?: string): Promise<Service[]> {
  const election = `/guard/${++elections}`;
  const started: Service[] = [];
  for (const name of names) {
    started.push(await startService({ endpoint: endpoint ?? server.endpoint, election, name, ...pieces }));
  }
  services.push(...started);
  await eventually(() => {
    expect(started.map(({ member }) => member.role)).toEqual(
      names.map((_, i) => (i === 0 ? "leader" : "standby")),
    );
    for (const { member } of started) expect(member.line).toHaveLength(names.length);
  });
  return started;
}

const ask = ({ port }: Service, ...headers: string[]): Promise<RawAnswer> =>
  rawHttp(port, ["GET /x?y=1 HTTP/1.1", "Host: service.example", "Connection: close", ...headers]);

const aborted = (signal: AbortSignal): Promise<unknown> =>
  signal.aborted
    ? Promise.resolve()
    : new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));

describe("a guard that responds", () => {
  test("lets pass on the leader alone, and tells the others' clients who leads and when to ask again", async () => {
    const [a, b] = (await line(["a", "b"])) as [Service, Service];
    expect(await ask(a)).toMatchObject({ status: 200, body: "a" });
    const answer = await ask(b);
    expect([answer.status, answer.body]).toEqual([503, `a:127.0.0.1:${a.port} leads\n`]);
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(answer.headers.get("x-succession-leader")).toBe(`a:127.0.0.1:${a.port}`);
    expect(answer.headers.get("connection")).toBe("close");
    await a.member.leave();
    await eventually(async () => expect(await ask(b)).toMatchObject({ status: 200, body: "b" }));
    expect(await ask(a)).toMatchObject({ status: 503 });
  });

  test("gives the handler the token, which no client can forge", async () => {
    const [a] = (await line(["a"], {
      handle: ({ headers, rawHeaders }, response, { token }) => {
        const names = rawHeaders.filter((_, i) => i % 2 === 0 && /succession/i.test(rawHeaders[i] as string));
        const got = Object.entries(headers).filter(([name]) => name.startsWith("x-succession"));
        response.end(JSON.stringify({ got, names, token: `${token}` }));
      },
    })) as [Service];
    const token = `${a.member.term?.token}`;
    const { body } = await ask(a, "X-Succession-Token: 1", "x-SUCCESSION-leader: me", "X-Succession-Hops: 2");
    expect(JSON.parse(body)).toEqual({
      got: [["x-succession-token", token]],
      names: ["X-Succession-Token"],
      token,
    });
  });

  test("names a leader whose id no header can hold", async () => {
    const election = `/guard/${++elections}`;
    const odd = await Member.join({ endpoints: [server.endpoint], election, id: "größte\r\nX-Evil: 1" });
    const b = await startService({ endpoint: server.endpoint, election, name: "b" });
    services.push(b);
    await eventually(() => expect(b.member.leader?.id).toBe(odd.id));
    const answer = await ask(b);
    expect(answer.headers.get("x-succession-leader")).toBe("gr%C3%B6%C3%9Fte%0D%0AX-Evil:%201");
    expect(answer.headers.has("x-evil")).toBe(false);
    await odd.leave();
  });

  test.each<[LeaderOnlyOptions, string]>([
    [{ otherwise: "proxy" as "forward" }, 'otherwise must be "respond", "redirect" or "forward"'],
    [{ hold: { most: -1 } }, "hold.most must be an integer"],
    [{ hold: { timeoutMs: Number.NaN } }, "hold.timeoutMs must be a number of milliseconds"],
    [{ retryAfterSeconds: 0.5 }, "retryAfterSeconds must be an integer"],
    [{ lingerMs: -1 }, "lingerMs must be"],
    [
      { otherwize: "forward" } as LeaderOnlyOptions,
      'options must be without unknown fields, got "otherwize"',
    ],
  ])("refuses %j", async (options, message) => {
    const member = await Member.join({ endpoints: [server.endpoint], election: "/guard/options", id: "a" });
    expect(() => leaderOnly(member, options)).toThrow(message);
    await member.leave();
  });
});

describe("the term's end", () => {
  test("that is lost stops requests at once, and the member counts them until they have stopped", async () => {
    const proxy = await TcpProxy.start({ target: server.endpoint });
    const seen: { admission?: Admission; reason?: unknown } = {};
    const pieces: Pieces = {
      settings: { ttlSeconds: 2 },
      handle: async (_request, response, admission) => {
        seen.admission = admission;
        await aborted(admission.signal);
        seen.reason = admission.signal.reason;
        response.writeHead(503).end("over");
      },
    };
    const [a] = (await line(["a"], pieces, proxy.endpoint)) as [Service];
    const answer = ask(a);
    await eventually(() => expect(a.guard.inFlight).toBe(1));
    await proxy.blackHole();
    expect(await answer).toMatchObject({ status: 503, body: "over" });
    expect(seen.reason).toMatchObject({ code: "TERM_ENDED", endCause: "deadline" });
    expect(seen.admission?.term.signal.aborted).toBe(true);
    await eventually(() => expect(a.guard.inFlight).toBe(0));
    await proxy.heal();
    await a.close();
    await proxy.close();
  });

  test("in order lets requests finish before the key is deleted", async () => {
    const go = gate();
    const signals: boolean[] = [];
    const [a, b] = (await line(["a", "b"], {
      settings: { ttlSeconds: 10, stopTimeoutMs: 5_000 },
      handle: async (_request, response, { signal, term }) => {
        await aborted(term.signal);
        await go.opened;
        signals.push(signal.aborted);
        response.end("done");
      },
    })) as [Service, Service];
    const answer = ask(a);
    await eventually(() => expect(a.guard.inFlight).toBe(1));
    const leaving = a.member.leave();
    await eventually(() => expect(a.member.phase).toBe("demoting"));
    expect([a.member.role, b.member.role, b.member.line.length]).toEqual(["standby", "standby", 2]);
    go.open();
    expect(await answer).toMatchObject({ status: 200, body: "done" });
    await leaving;
    expect(signals).toEqual([false]);
    await eventually(() => expect(b.member.role).toBe("leader"));
  });

  test("in order stops and cuts what takes longer than its budget, and then the successor leads", async () => {
    const reasons: unknown[] = [];
    const [a, b] = (await line(["a", "b"], {
      settings: { ttlSeconds: 10, stopTimeoutMs: 500 },
      handle: async (_request, _response, { signal }) => {
        await aborted(signal);
        reasons.push(signal.reason);
      },
    })) as [Service, Service];
    const answer = ask(a).catch((error: unknown) => error);
    await eventually(() => expect(a.guard.inFlight).toBe(1));
    await a.member.leave();
    await eventually(() => expect(b.member.role).toBe("leader"), { timeoutMs: 3_000 });
    // The connection was cut before anything had been answered.
    expect(await answer).not.toMatchObject({ status: 200 });
    expect(reasons).toMatchObject([{ code: "TERM_ENDED" }]);
  });

  test("keeps the key while a handler that was told to stop still runs", async () => {
    const go = gate();
    const { logger, said } = notebook();
    const [a, b] = (await line(["a", "b"], {
      settings: { ttlSeconds: 10, stopTimeoutMs: 200, logger },
      handle: () => go.opened,
    })) as [Service, Service];
    ask(a).catch(() => {});
    await eventually(() => expect(a.guard.inFlight).toBe(1));
    const leaving = a.member.leave();
    await eventually(() => {
      const told = said.find(({ message }) => message.startsWith("the work has not stopped"));
      expect(told?.fields).toMatchObject({ callback: "requests" });
    });
    expect([b.member.role, b.member.line.length]).toEqual(["standby", 2]);
    go.open();
    await leaving;
    await eventually(() => expect(b.member.role).toBe("leader"), { timeoutMs: 3_000 });
  });

  test("drain tells whether all have finished by themselves, and lets new ones pass", async () => {
    const go = gate();
    const [a] = (await line(["a"], {
      handle: async ({ url }, response) => {
        if (url?.startsWith("/x")) await go.opened;
        response.end("ok");
      },
    })) as [Service];
    const slow = ask(a).catch(() => "cut");
    await eventually(() => expect(a.guard.inFlight).toBe(1));
    expect(await a.guard.drain(20)).toBe(false);
    expect(await slow).not.toMatchObject({ status: 200 });
    go.open();
    expect(await rawHttp(a.port, ["GET /quick HTTP/1.0"])).toMatchObject({ status: 200 });
    await eventually(() => expect(a.guard.inFlight).toBe(0));
    expect(await a.guard.drain(20)).toBe(true);
  });
});

describe("a guard that redirects", () => {
  test("answers 307 with the leader's address, from its details before its id", async () => {
    const election = `/guard/${++elections}`;
    const a = await Member.join({
      ...{ endpoints: [server.endpoint], election, id: "a:192.0.2.1:1", address: "https://a.example:8443" },
    });
    const [guard, settings] = [{ otherwise: "redirect" } as const, {}];
    const b = await startService({ endpoint: server.endpoint, election, name: "b", guard, settings });
    services.push(b);
    const answer = await eventually(async () => {
      const got = await ask(b);
      expect(got.status).toBe(307);
      return got;
    });
    expect(answer.headers.get("location")).toBe("https://a.example:8443/x?y=1");
    expect(answer.headers.get("x-succession-leader")).toBe("a:192.0.2.1:1");
    await a.leave();
  });

  test("answers 503 with the reason where the leader tells no usable address", async () => {
    const election = `/guard/${++elections}`;
    const { logger, said } = notebook();
    const a = await Member.join({ endpoints: [server.endpoint], election, id: "a", address: "nowhere" });
    const b = await startService({
      ...{
        endpoint: server.endpoint,
        election,
        name: "b",
        guard: { otherwise: "redirect" },
        settings: { logger },
      },
    });
    services.push(b);
    await eventually(async () => {
      expect(await ask(b)).toMatchObject({ status: 503, body: "a leads and tells no usable address\n" });
    });
    expect(said.filter(({ message }) => message.includes("no usable address"))).toHaveLength(1);
    await a.leave();
  });
});

describe("a guard that forwards", () => {
  const forward = { guard: { otherwise: "forward" } } as const;

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
    const total = 64 * 1_024 * 1_024;
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
        while (written < total) {
          written += piece.length;
          if (!response.write(piece)) await once(response, "drain");
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
    expect(written).toBeLessThan(total / 2);
    let size = 0;
    for await (const piece of large) size += (piece as Buffer).length;
    expect(size).toBe(total);
  });

  test("holds requests while nobody leads, within its limits, and gives them to whoever leads next", async () => {
    const ready = gate();
    const [a, b] = (await line(["a", "b"], {
      guard: { otherwise: "forward", hold: { most: 2, timeoutMs: 20_000 } },
      settings: { prepare: ({ token }: { token: bigint }) => (token === first ? undefined : ready.opened) },
    })) as [Service, Service];
    var first: bigint | undefined;
    void a;
    void b;
    ready.open();
  });

  test("refuses what goes in circles", async () => {
    const election = `/guard/${++elections}`;
    const b = await startService({ endpoint: server.endpoint, election, name: "z", ...forward });
    await b.member.leave();
    // A leader whose address leads back to a standby, here by the id alone.
    const a = await Member.join({ endpoints: [server.endpoint], election, id: "a" });
    const c = await startService({ endpoint: server.endpoint, election, name: "c", ...forward });
    services.push(b, c);
    const loop = await Member.join({
      endpoints: [server.endpoint],
      election,
      id: `loop:127.0.0.1:${c.port}`,
    });
    await a.leave();
    await c.member.leave();
    void loop;
  });
});
void Agent;
void request;
