import { once } from "node:events";
import { copyFileSync, readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Etcd, type EtcdOptions } from "../../src/etcd/etcd.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { Authority } from "./certificates.ts";

const clients: Etcd[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((each) => each.close()));
});

function client(options: EtcdOptions): Etcd {
  const etcd = new Etcd({ attemptTimeoutMs: 500, ...options });
  clients.push(etcd);
  return etcd;
}

describe.each(realEtcds)("etcd $version", (binary) => {
  let authority: Authority;
  let other: Authority;
  let server: EtcdServer;

  beforeAll(async () => {
    authority = new Authority();
    other = new Authority("Another CA");
    const { certFile, keyFile } = authority.issue("server");
    server = await EtcdServer.start({ binary, tls: { caFile: authority.caFile, certFile, keyFile } });
  });
  afterAll(async () => {
    await server.close();
    authority[Symbol.dispose]();
    other[Symbol.dispose]();
  });

  test("an https endpoint is trusted by the authority given, as a file or as text", async () => {
    for (const ca of [authority.caFile, readFileSync(authority.caFile, "utf8")]) {
      const etcd = client({ endpoints: [server.url], tls: { ca } });
      await etcd.ready();
      await etcd.put("a", "b");
    }
    const { port } = new URL(server.url);
    await client({ endpoints: [`localhost:${port}`], tls: { ca: authority.caFile } }).ready();
  });

  test("a watch goes on over a broken TLS connection", async () => {
    await using proxy = await TcpProxy.start({ target: server.endpoint });
    const etcd = client({ endpoints: [`https://${proxy.endpoint}`], tls: { ca: authority.caFile } });
    const { header } = await etcd.put("w", "0");
    const watch = etcd.watch({ key: "w", startRevision: header?.revision ?? 0n })[Symbol.asyncIterator]();
    await watch.next();
    proxy.resetAll();
    const direct = client({ endpoints: [server.url], tls: { ca: authority.caFile } });
    const put = await direct.put("w", "1");
    expect((await watch.next()).value?.revision).toBe(put.header?.revision);
    await watch.return?.();
  });

  test.each<[string, () => EtcdOptions, RegExp]>([
    [
      "another authority",
      () => ({ endpoints: [server.url], tls: { ca: other.caFile } }),
      /unable to (verify|get)|self.signed|signature/i,
    ],
    ["no authority of ours", () => ({ endpoints: [server.url] }), /unable to|self.signed/i],
    ["plain text to a TLS port", () => ({ endpoints: [`http://${server.endpoint}`] }), /does it want TLS\?/],
  ])("%s: ready says what is wrong, and with which endpoint", async (_, options, reason) => {
    const error = await client(options())
      .ready({ timeoutMs: 1_500 })
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "ETCD_UNAVAILABLE" });
    expect(String(error)).toContain(server.endpoint);
    expect(String(error)).toMatch(reason);
  });

  test("with client certificates: ours is taken, a missing one is refused, a renewed file is used at the next connection", async () => {
    const { certFile, keyFile } = authority.issue("mutual");
    const tls = { caFile: authority.caFile, certFile, keyFile, clientCertAuth: true };
    await using mutual = await EtcdServer.start({ binary, tls });
    await using proxy = await TcpProxy.start({ target: mutual.endpoint });
    const ca = authority.caFile;
    const own = authority.issue("client");
    const etcd = client({
      endpoints: [`https://${proxy.endpoint}`],
      tls: { ca, cert: own.certFile, key: own.keyFile },
    });
    await etcd.ready();

    const none = client({ endpoints: [mutual.url], tls: { ca } });
    await expect(none.ready({ timeoutMs: 1_000 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });

    // A certificate that the server does not trust takes the place of ours, then a good one again.
    const wrong = other.issue("client");
    copyFileSync(wrong.keyFile, own.keyFile);
    copyFileSync(wrong.certFile, own.certFile);
    await etcd.range("a");
    proxy.resetAll();
    await expect(etcd.range("a", { timeoutMs: 1_500 })).rejects.toMatchObject({ code: "ETCD_UNAVAILABLE" });
    authority.issue("client");
    await etcd.range("a");
  });
});

describe.each(realEtcds.slice(0, 1))("plain etcd $version", (binary) => {
  test("TLS to a plain port: ready says what is wrong", async () => {
    await using server = await EtcdServer.start({ binary });
    const error = await client({ endpoints: [`https://${server.endpoint}`] })
      .ready({ timeoutMs: 1_500 })
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "ETCD_UNAVAILABLE" });
    expect(String(error)).toMatch(new RegExp(`${server.endpoint}: .*: does the server speak TLS\\?`));
  });
});

test("a server that completes TLS and then says nothing does not keep the connection for ever", async () => {
  using authority = new Authority();
  const { certFile, keyFile } = authority.issue("server");
  const mute = createServer({
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    ALPNProtocols: ["h2"],
  });
  mute.on("secureConnection", (socket) => socket.on("error", () => {}).resume());
  mute.on("tlsClientError", () => {});
  mute.listen(0, "127.0.0.1");
  await once(mute, "listening");
  const connected = once(mute, "secureConnection");
  const endpoint = `https://127.0.0.1:${(mute.address() as AddressInfo).port}`;
  const etcd = client({ endpoints: [endpoint], tls: { ca: authority.caFile }, attemptTimeoutMs: 200 });
  const asked = etcd.range("a", { timeoutMs: 3_000 }).catch((error: unknown) => error);
  const [socket] = await connected;
  await once(socket, "close");
  expect(await asked).toMatchObject({ code: "ETCD_UNAVAILABLE" });
  await etcd.close();
  mute.close();
});
