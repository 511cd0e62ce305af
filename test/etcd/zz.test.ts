import { subscribe } from "node:diagnostics_channel";
import { test } from "vitest";
import { Etcd } from "../../src/etcd/etcd.ts";
import { EtcdServer } from "../support/etcd-server.ts";
import { realEtcds } from "../support/etcd-binaries.ts";
const opened: number[] = [];
subscribe("net.client.socket", () => { opened.push(performance.now()); });
test.each([0, 800, 1_300, 2_500])("block %i", async (blockMs) => {
  await using server = await EtcdServer.start({ binary: realEtcds.at(-1) as never });
  const etcd = new Etcd({ endpoints: [server.endpoint] });
  const t0 = performance.now();
  const { header } = await etcd.put("a", "0");
  opened.length = 0;
  const it = etcd.watch({ key: "a", startRevision: header!.revision })[Symbol.asyncIterator]();
  await it.next();
  const n = it.next().catch(() => {});
  await new Promise((r) => setTimeout(r, 5_300));
  let failures = 0;
  for (let i = 0; i < 4; i++) {
    const put = etcd.put("b", "x").catch((e) => { failures++; console.log("block", blockMs, String(e)); });
    await new Promise((r) => setTimeout(r, 150));
    if (blockMs) { const end = performance.now() + blockMs; while (performance.now() < end); }
    await put;
    await new Promise((r) => setTimeout(r, 50));
  }
  console.log("block", blockMs, "reconnections", opened.length, "failed puts", failures, "ms", Math.round(performance.now() - t0));
  await etcd.close(); await n;
}, 60_000);
