import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Etcd, type EtcdOptions } from "../../src/etcd/etcd.ts";
import { keepAliveOnce } from "../../src/etcd/keep-alive-once.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

const password = "s3cret-and-long";
const clients: Etcd[] = [];
/** All that any client logged or threw in this test, for one who looks for passwords. */
const said: unknown[] = [];
const logger = Object.fromEntries(
  ["debug", "info", "warn", "error"].map((level) => [level, (...line: unknown[]) => void said.push(line)]),
) as unknown as NonNullable<EtcdOptions["logger"]>;

afterEach(async () => {
  await Promise.all(clients.splice(0).map((each) => each.close()));
  const text = JSON.stringify(said.splice(0), (_, value) =>
    value instanceof Error ? `${value.stack}` : typeof value === "bigint" ? `${value}` : value,
  );
  expect(text).not.toContain(password);
});

function client(endpoint: string, options: Partial<EtcdOptions> = {}): Etcd {
  const etcd = new Etcd({ endpoints: [endpoint], attemptTimeoutMs: 1_000, logger, ...options });
  clients.push(etcd);
  return etcd;
}

async function failureOf(task: Promise<unknown>): Promise<unknown> {
  const error = await task.then(
    () => expect.unreachable(),
    (thrown: unknown) => thrown,
  );
  said.push(error);
  return error;
}

/** root may all; app may read and write below /app/. */
async function enableAuth(server: EtcdServer): Promise<void> {
  await server.etcdctl("user", "add", `root:${password}`);
  await server.etcdctl("user", "grant-role", "root", "root");
  await server.etcdctl("role", "add", "app");
  await server.etcdctl("role", "grant-permission", "app", "--prefix=true", "readwrite", "/app/");
  await server.etcdctl("user", "add", `app:${password}`);
  await server.etcdctl("user", "grant-role", "app", "app");
  await server.etcdctl("auth", "enable");
}

const root = { user: "root", password };
const app = { user: "app", password };

describe.each(realEtcds)("etcd $version with passwords", (binary) => {
  let server: EtcdServer;
  let proxy: TcpProxy;

  beforeAll(async () => {
    // 3.4 has no flag for it: there, a restart of the server stands for the end of a token.
    const ttl = binary.version === "3.4" ? [] : ["--auth-token-ttl=2"];
    server = await EtcdServer.start({ binary, extraArgs: ["--auth-token=simple", ...ttl] });
    await enableAuth(server);
    proxy = await TcpProxy.start({ target: server.endpoint });
  });
  afterAll(async () => {
    await proxy.close();
    await server.close();
  });

  test("a user reads, writes, leases and watches what he may", async () => {
    const etcd = client(server.endpoint, app);
    await etcd.ready();
    const { ID } = await etcd.leaseGrant(60);
    const { header } = await etcd.put("/app/a", "b", { lease: ID });
    expect(await keepAliveOnce(etcd, ID)).toMatchObject({ ttlSeconds: 60 });
    const watch = etcd
      .watch({ key: "/app/a", startRevision: header?.revision ?? 0n })
      [Symbol.asyncIterator]();
    expect((await watch.next()).value?.revision).toBe(header?.revision);
    await watch.return?.();
  });

  test("what a user may not is told as such, for requests and watches, and does not stop the others", async () => {
    const etcd = client(server.endpoint, app);
    const good = etcd.watch({ key: "/app/w" })[Symbol.asyncIterator]();
    const next = good.next();
    expect(await failureOf(etcd.put("/other", "x"))).toMatchObject({
      code: "PERMISSION_DENIED",
      mayHaveApplied: false,
    });
    const bad = etcd.watch({ key: "/other" })[Symbol.asyncIterator]();
    expect(await failureOf(bad.next())).toMatchObject({ code: "PERMISSION_DENIED" });
    await etcd.put("/app/w", "x");
    expect((await next).value?.events).toHaveLength(1);
    await good.return?.();
  });

  test("a wrong password, an unknown user and no user at all are told at once", async () => {
    const wrong: readonly Partial<EtcdOptions>[] = [
      { user: "root", password: `${password}!` },
      { user: "nobody", password },
      {},
    ];
    for (const credentials of wrong) {
      const etcd = client(server.endpoint, credentials);
      const start = performance.now();
      expect(await failureOf(etcd.ready({ timeoutMs: 20_000 }))).toMatchObject({ code: "AUTH_FAILED" });
      expect(await failureOf(etcd.range("/app/a"))).toMatchObject({ code: "AUTH_FAILED" });
      const watch = etcd.watch({ key: "/app/a" })[Symbol.asyncIterator]();
      expect(await failureOf(watch.next())).toMatchObject({
        code:
          credentials.user === undefined
            ? expect.stringMatching(/AUTH_FAILED|PERMISSION_DENIED/)
            : "AUTH_FAILED",
      });
      expect(performance.now() - start).toBeLessThan(5_000);
    }
  });

  test("a token that is over is renewed, for requests, keepalives and watches", async () => {
    const etcd = client(proxy.endpoint, app);
    const direct = client(server.endpoint, root);
    const { ID } = await etcd.leaseGrant(60);
    const { header } = await etcd.put("/app/t", "0");
    const watch = etcd
      .watch({ key: "/app/t", startRevision: header?.revision ?? 0n })
      [Symbol.asyncIterator]();
    await watch.next();
    if (binary.version === "3.4") await server.restart();
    // Each use makes a token live on, so there is nothing to ask: its time must pass.
    else await new Promise((resolve) => setTimeout(resolve, 4_000));
    expect(await keepAliveOnce(etcd, ID)).toMatchObject({ ttlSeconds: 60 });
    expect((await etcd.range("/app/t")).count).toBe(1n);
    proxy.resetAll();
    const put = await direct.put("/app/t", "1");
    expect((await watch.next()).value?.revision).toBe(put.header?.revision);
    await watch.return?.();
  });
});

describe.each(realEtcds)("etcd $version with jwt", (binary) => {
  test("a change of users makes every token old, and nobody notices", async () => {
    const folder = mkdtempSync(join(tmpdir(), "succession-jwt-"));
    const key = join(folder, "key.pem");
    const publicKey = join(folder, "public.pem");
    execFileSync("openssl", ["genrsa", "-out", key, "2048"], { stdio: "pipe" });
    execFileSync("openssl", ["rsa", "-in", key, "-pubout", "-out", publicKey], { stdio: "pipe" });
    const token = `--auth-token=jwt,pub-key=${publicKey},priv-key=${key},sign-method=RS256,ttl=10m`;
    await using server = await EtcdServer.start({ binary, extraArgs: [token] });
    await enableAuth(server);
    await using proxy = await TcpProxy.start({ target: server.endpoint });
    const etcd = client(proxy.endpoint, app);
    const { ID } = await etcd.leaseGrant(60);
    const { header } = await etcd.put("/app/a", "0");
    const watch = etcd
      .watch({ key: "/app/a", startRevision: header?.revision ?? 0n })
      [Symbol.asyncIterator]();
    await watch.next();
    for (let at = 1; at <= 3; at++) {
      await server.etcdctl(`--user=root:${password}`, "user", "add", `user${at}:x`);
      expect(await keepAliveOnce(etcd, ID)).toMatchObject({ ttlSeconds: 60 });
      const put = await etcd.put("/app/a", `${at}`);
      expect((await watch.next()).value?.revision).toBe(put.header?.revision);
      await server.etcdctl(`--user=root:${password}`, "user", "delete", `user${at}`);
      proxy.resetAll();
      await etcd.range("/app/a");
    }
    await watch.return?.();
    rmSync(folder, { recursive: true });
  });
});

test("a user given to a server that asks for none does no harm", async () => {
  await using server = await DevServer.start();
  const etcd = client(server.endpoint, root);
  await etcd.ready();
  const { header } = await etcd.put("a", "b");
  const watch = etcd.watch({ key: "a", startRevision: header?.revision ?? 0n })[Symbol.asyncIterator]();
  await watch.next();
  await watch.return?.();
  expect((await etcd.status(server.endpoint)).version).toMatch(/^3/);
});
