import { once } from "node:events";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { SystemClock } from "../../src/clock.ts";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd, type EtcdOptions } from "../../src/etcd/etcd.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdCluster } from "../support/etcd-server.ts";
import { eventually } from "../support/eventually.ts";
import { freePorts } from "../support/free-ports.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { SilentServer } from "./silent-server.ts";

/** Which endpoint a client begins with is left to chance; here it is the first. */
class FirstFirst extends SystemClock {
  #begun = false;

  override random(): number {
    if (this.#begun) return super.random();
    this.#begun = true;
    return 0;
  }
}

const clients: Etcd[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((each) => each.close()));
});

function client(endpoints: readonly string[], options: Partial<EtcdOptions> = {}): Etcd {
  const etcd = new Etcd({ endpoints, attemptTimeoutMs: 500, clock: new FirstFirst(), ...options });
  clients.push(etcd);
  return etcd;
}

async function took(task: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await task;
  return performance.now() - start;
}

/** Of a loaded machine; the limits proper are in the tests by manual clock. */
const slackMs = 700;

describe("with an endpoint in trouble", () => {
  test("a refused connection costs next to nothing, for reads and changes", async () => {
    await using server = await DevServer.start();
    const [port] = await freePorts(1);
    for (const ask of [(etcd: Etcd) => etcd.range("a"), (etcd: Etcd) => etcd.put("a", "b")]) {
      const etcd = client([`127.0.0.1:${port}`, server.endpoint]);
      expect(await took(ask(etcd))).toBeLessThan(slackMs);
    }
  });

  test("one that accepts and says nothing costs one attempt with a connection, for changes too", async () => {
    await using server = await DevServer.start();
    await using silent = await SilentServer.start();
    for (const ask of [(etcd: Etcd) => etcd.range("a"), (etcd: Etcd) => etcd.put("a", "b")]) {
      const etcd = client([silent.endpoint, server.endpoint]);
      const ms = await took(ask(etcd));
      expect(ms).toBeGreaterThan(900);
      expect(ms).toBeLessThan(1_000 + slackMs);
      expect(await took(etcd.range("a"))).toBeLessThan(slackMs);
    }
  });

  test("one whose connection requests are dropped costs the same", async () => {
    await using server = await DevServer.start();
    await using proxy = await TcpProxy.start({ target: server.endpoint });
    await proxy.blackHole({ accept: false });
    const etcd = client([proxy.endpoint, server.endpoint]);
    expect(await took(etcd.put("a", "b"))).toBeLessThan(1_000 + slackMs);
  });

  test("a connection that goes silent costs one attempt, and a change is not repeated", async () => {
    await using server = await DevServer.start();
    await using proxy = await TcpProxy.start({ target: server.endpoint });
    const etcd = client([proxy.endpoint, server.endpoint]);
    await etcd.put("a", "1");
    await proxy.blackHole();
    await expect(etcd.put("a", "2")).rejects.toMatchObject({
      code: "ETCD_UNAVAILABLE",
      mayHaveApplied: true,
    });
    expect(await took(etcd.put("a", "3"))).toBeLessThan(slackMs);

    const other = client([proxy.endpoint, server.endpoint]);
    expect(await took(other.range("a"))).toBeLessThan(1_000 + slackMs);
  });

  test("a change that left over a new connection is not repeated when that breaks or goes silent", async () => {
    await using server = await DevServer.start();
    for (const breaks of [true, false]) {
      // Speaks HTTP/2 and answers no request.
      const mute = createHttp2Server();
      mute.listen(0, "127.0.0.1");
      await once(mute, "listening");
      const etcd = client([`127.0.0.1:${(mute.address() as AddressInfo).port}`, server.endpoint]);
      const arrived = once(mute, "stream");
      const put = etcd.put("a", "1").catch((error: unknown) => error);
      const [stream] = (await arrived) as [ServerHttp2Stream];
      if (breaks) stream.session?.destroy();
      expect(await put).toMatchObject({ code: "ETCD_UNAVAILABLE", mayHaveApplied: true });
      await etcd.close();
      mute.close();
    }
  });

  test("a watch moves when its endpoint goes silent and a request finds another", async () => {
    await using server = await DevServer.start();
    await using proxy = await TcpProxy.start({ target: server.endpoint });
    const etcd = client([proxy.endpoint, server.endpoint]);
    const { header } = await etcd.put("a", "0");
    const watch = etcd.watch({ key: "a", startRevision: header?.revision ?? 0n })[Symbol.asyncIterator]();
    await watch.next();
    const next = watch.next();
    await proxy.blackHole();
    const start = performance.now();
    await etcd.range("a");
    await etcd.put("a", "1");
    await next;
    expect(performance.now() - start).toBeLessThan(500 + slackMs);
    await watch.return?.();
  });

  test("a watch that is opened on a silent endpoint moves by itself", async () => {
    await using server = await DevServer.start();
    await using silent = await SilentServer.start();
    server.store.put({ key: new TextEncoder().encode("a"), value: new Uint8Array() });
    const etcd = client([silent.endpoint, server.endpoint]);
    const watch = etcd.watch({ key: "a", startRevision: 1n })[Symbol.asyncIterator]();
    expect(await took(watch.next())).toBeLessThan(1_000 + slackMs);
    await watch.return?.();
  });
});

describe("when the network heals", () => {
  test.each([
    ["refused", async (proxy: TcpProxy) => proxy.refuse()],
    ["accepted and silent", async (proxy: TcpProxy) => proxy.blackHole()],
    ["not even answered", async (proxy: TcpProxy) => proxy.blackHole({ accept: false })],
  ])("an only endpoint whose connections were %s answers within about a second", async (_, spoil) => {
    await using server = await DevServer.start();
    await using proxy = await TcpProxy.start({ target: server.endpoint });
    const etcd = client([proxy.endpoint]);
    await etcd.range("a");
    await spoil(proxy);
    proxy.resetAll();
    await expect(etcd.range("a", { timeoutMs: 4_000 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
    proxy.resetAll();
    await proxy.heal();
    expect(await took(etcd.range("a"))).toBeLessThan(1_500 + slackMs);
  });

  test("an only endpoint that went silent under a connection answers again at once", async () => {
    await using server = await DevServer.start();
    await using proxy = await TcpProxy.start({ target: server.endpoint });
    const etcd = client([proxy.endpoint]);
    await etcd.range("a");
    await proxy.blackHole();
    await expect(etcd.range("a", { timeoutMs: 3_000 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
    await proxy.heal();
    expect(await took(etcd.range("a"))).toBeLessThan(1_500 + slackMs);
  });

  test("an endpoint that was left works again when the other one goes", async () => {
    await using server = await DevServer.start();
    await using first = await TcpProxy.start({ target: server.endpoint });
    await using second = await TcpProxy.start({ target: server.endpoint });
    const etcd = client([first.endpoint, second.endpoint]);
    await etcd.range("a");
    await first.blackHole();
    await etcd.range("a");
    await first.heal();
    await second.refuse();
    second.resetAll();
    expect(await took(etcd.range("a"))).toBeLessThan(slackMs);
  });

  test("a channel never stays in the middle of a handshake", async () => {
    await using server = await DevServer.start();
    // Says something, so that bytes arrive, and never completes HTTP/2's handshake.
    await using stuck = await SilentServer.start("\u0000");
    const etcd = client([stuck.endpoint, server.endpoint], { attemptTimeoutMs: 200 });
    await etcd.range("a");
    await eventually(() => expect(stuck.sockets.size).toBe(0));
  });
});

test("over a long way, 100 ms each and more to connect, everything works at attemptTimeoutMs 500", async () => {
  await using server = await DevServer.start();
  await using proxy = await TcpProxy.start({ target: server.endpoint, connectDelayMs: 400 });
  proxy.delay(100);
  const etcd = client([proxy.endpoint]);
  await etcd.ready();
  const { header } = await etcd.put("a", "0");
  const watch = etcd
    .watch({ key: "a", startRevision: (header?.revision ?? 0n) + 1n })
    [Symbol.asyncIterator]();
  const next = watch.next();
  for (let at = 0; at < 3; at++) await etcd.put("a", `${at}`);
  expect((await next).value?.revision).toBe((header?.revision ?? 0n) + 1n);
  proxy.resetAll();
  expect((await etcd.range("a")).count).toBe(1n);
  expect((await watch.next()).value?.revision).toBe((header?.revision ?? 0n) + 2n);
  expect(proxy.acceptedConnections).toBe(2);
  await watch.return?.();
});

describe.each(realEtcds)("a cluster of three on etcd $version", (binary) => {
  test("requests and watches go on when the member in use is stopped, killed, or the raft leader", async () => {
    await using cluster = await EtcdCluster.start({ binary });
    const leader = await cluster.leader();
    const [follower, third] = cluster.others(leader);
    if (follower === undefined || third === undefined) throw new Error("three members are needed");
    const etcd = client([follower.endpoint, leader.endpoint, third.endpoint]);
    const { header } = await etcd.put("a", "0");
    const watch = etcd.watch({ key: "a", startRevision: header?.revision ?? 0n })[Symbol.asyncIterator]();
    await watch.next();

    await follower.stop();
    expect(await took(etcd.range("a"))).toBeLessThan(500 + slackMs);
    await etcd.put("a", "1");
    await watch.next();
    follower.cont();

    // The raft leader dies: until there is another one, no member can answer.
    await leader.kill();
    expect(await took(etcd.range("a"))).toBeLessThan(4_000);
    const put = async (): Promise<unknown> => {
      try {
        return await etcd.put("a", "2");
      } catch {
        return await etcd.put("a", "2");
      }
    };
    await put();
    await watch.next();
    await watch.return?.();
  });

  test("a member without a majority says so at once, and the status of each can still be asked", async () => {
    await using cluster = await EtcdCluster.start({ binary });
    const [first, ...others] = cluster.members;
    if (first === undefined) throw new Error("a member is needed");
    const etcd = client([first.endpoint]);
    await etcd.put("a", "1");
    await Promise.all(others.map((member) => member.kill()));
    const start = performance.now();
    await eventually(
      async () => {
        const error = await etcd.range("a", { timeoutMs: 400, attemptTimeoutMs: 300 }).catch(String);
        expect(error).toContain("etcdserver: no leader");
      },
      { timeoutMs: 10_000 },
    );
    expect(performance.now() - start).toBeLessThan(10_000);
    expect((await etcd.status(first.endpoint)).leader).toBe(0n);
    expect((await etcd.range("a", { serializable: true })).count).toBe(1n);
    expect((await etcd.memberList()).members).toHaveLength(3);
  });
});
