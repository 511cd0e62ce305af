import { describe, expect, test } from "vitest";
import { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import type { Admission } from "../../src/traffic/admissions.ts";
import type { LeaderOnlyOptions } from "../../src/traffic/guard-options.ts";
import { leaderOnly } from "../../src/traffic/leader-only.ts";
import { gate, notebook } from "../member/world.ts";
import { eventually } from "../support/eventually.ts";
import { rawHttp } from "../support/raw-http.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { aborted, ask, bench, type Service, type ServiceOptions } from "./service.ts";

const store = bench();
const { election, line } = store;

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
    const name = election();
    const odd = await Member.join({ endpoints: [store.endpoint], election: name, id: "größte\r\nX-Evil: 1" });
    const b = await store.start({ election: name, name: "b" });
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
    [{ hold: null } as never, "hold must be an object, got null"],
    [{ hold: { timeout: 5 } } as never, 'hold must be without unknown fields, got "timeout"'],
    [
      { otherwize: "forward" } as LeaderOnlyOptions,
      'options must be without unknown fields, got "otherwize"',
    ],
  ])("refuses %j", async (options, message) => {
    const member = await Member.join({ endpoints: [store.endpoint], election: "/guard/options", id: "a" });
    expect(() => leaderOnly(member, options)).toThrow(message);
    await member.leave();
  });

  test("refuses what is no member, and a budget that is no time", async () => {
    expect(() => leaderOnly(undefined as never)).toThrow(/^member must be what Member.join resolves to/);
    const { guard } = (await line(["a"]))[0] as Service;
    await expect(guard.drain(Number.NaN)).rejects.toThrow(/^budgetMs must be a number of milliseconds/);
  });
});

describe("the term's end", () => {
  test("that is lost stops requests at once, and the member counts them until they have stopped", async () => {
    const proxy = await TcpProxy.start({ target: store.endpoint });
    const seen: { admission?: Admission; reason?: unknown } = {};
    const pieces: Pick<ServiceOptions, "settings" | "handle"> = {
      settings: { ttlSeconds: 2 },
      handle: async (_request, response, admission) => {
        seen.admission = admission;
        await aborted(admission.signal);
        seen.reason = admission.signal.reason;
        response.writeHead(503).end("over");
      },
    };
    const [a] = (await line(["a"], { ...pieces, endpoint: proxy.endpoint })) as [Service];
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

  test("does not keep a member away whose handler never ends", async () => {
    const [a] = (await line(["a"], {
      settings: { ttlSeconds: 4 },
      handle: () => new Promise(() => {}),
    })) as [Service];
    ask(a).catch(() => {});
    await eventually(() => expect(a.guard.inFlight).toBe(1));
    const first = a.member.term?.token ?? 0n;
    const etcd = new Etcd({ endpoints: [store.endpoint] });
    await etcd.delete(a.member.term?.key ?? "");
    await eventually(() => expect(a.member.term?.token).toBeGreaterThan(first), { timeoutMs: 20_000 });
    await etcd.close();
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
    const name = election();
    const a = await Member.join({
      ...{
        endpoints: [store.endpoint],
        election: name,
        id: "a:192.0.2.1:1",
        address: "https://a.example:8443",
      },
    });
    const [guard, settings] = [{ otherwise: "redirect" } as const, {}];
    const b = await store.start({ election: name, name: "b", guard, settings });
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
    const name = election();
    const { logger, said } = notebook();
    const a = await Member.join({ endpoints: [store.endpoint], election: name, id: "a", address: "nowhere" });
    const b = await store.start({
      ...{ election: name, name: "b", guard: { otherwise: "redirect" }, settings: { logger } },
    });
    await eventually(async () => {
      expect(await ask(b)).toMatchObject({ status: 503, body: "a leads and tells no usable address\n" });
    });
    expect(said.filter(({ message }) => message.includes("no usable address"))).toHaveLength(1);
    await a.leave();
  });
});
