import { test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Lease, Watch, KV } from "../../src/etcd/gen/etcd_pb.ts";
import { Election } from "../../src/etcd/gen/v3election_pb.ts";
import { RawClient } from "./raw-client.ts";
import { bytes, refusal } from "./transcript.ts";
test("codes at close", async () => {
  for (let i = 0; i < 3; i++) {
  const server = await DevServer.start();
  const client = new RawClient(server.endpoint);
  const w = client.stream(Watch.method.watch);
  w.send({ requestUnion: { case: "createRequest", value: { key: bytes("a") } } });
  await w.answers.next();
  const k = client.stream(Lease.method.leaseKeepAlive);
  k.send({ ID: 1n }); await k.answers.next();
  await client.unary(Election.method.campaign, { name: bytes("e") });
  const c = client.unary(Election.method.campaign, { name: bytes("e") });
  const o = client.subscribe(Election.method.observe, { name: bytes("e") });
  await o.next();
  await new Promise(r => setTimeout(r, 50));
  const t = performance.now();
  await server.close();
  console.log(performance.now() - t);
  for (const p of [w.answers.next(), k.answers.next(), c, o.next(), client.unary(KV.method.range, {key: bytes("a")})]) console.log(await p.catch(refusal));
  client.close();
  }
});
