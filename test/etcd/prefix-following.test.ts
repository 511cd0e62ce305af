import { expect, test } from "vitest";
import { toText } from "../../src/etcd/bytes.ts";
import { followPrefix } from "../../src/etcd/prefix-following.ts";
import { VirtualEtcd } from "../../src/testing/index.ts";

/** Follows the keys under /f/ on a link of its own, and notes what it is told. */
function following(etcd: VirtualEtcd): {
  readonly link: ReturnType<VirtualEtcd["link"]>;
  readonly told: string[];
  stop(): Promise<void>;
} {
  const link = etcd.link();
  const client = link.client();
  const told: string[] = [];
  const stopped = new AbortController();
  const done = followPrefix(client, {
    ...{ prefix: "/f/", signal: stopped.signal, onDenied: (error) => told.push(error.code) },
    read: async (limits) => {
      const { kvs, header } = await client.range("/f/", { ...limits, prefix: true });
      told.push(`read ${kvs.map(({ value }) => toText(value))}`);
      return header?.revision ?? 0n;
    },
    onEvents: ({ events }) => told.push(...events.map(({ kv }) => toText(kv?.value ?? new Uint8Array()))),
  });
  const stop = async (): Promise<void> => {
    stopped.abort();
    await Promise.all([done, etcd.clock.advance(0)]);
  };
  return { link, told, stop };
}

async function put(etcd: VirtualEtcd, key: string, value: string): Promise<void> {
  await Promise.all([etcd.client().put(key, value), etcd.clock.advance(10)]);
}

test("tells what is there, then what comes, and goes on after an outage with nothing missed", async () => {
  await using etcd = new VirtualEtcd();
  await put(etcd, "/f/a", "1");
  const { link, told, stop } = following(etcd);
  await etcd.clock.advance(100);
  await put(etcd, "/f/a", "2");
  await put(etcd, "/g", "not ours");
  await link.refuse();
  await put(etcd, "/f/b", "3");
  await etcd.clock.advance(20_000);
  await link.heal();
  await etcd.clock.advance(20_000);
  expect(told).toEqual(["read 1", "2", "3"]);
  await stop();
});

test("finds out by a minute that an open watch says nothing", async () => {
  await using etcd = new VirtualEtcd();
  const { link, told, stop } = following(etcd);
  await etcd.clock.advance(100);
  link.silent({ only: "watches" });
  await put(etcd, "/f/a", "1");
  await etcd.clock.advance(59_000);
  expect(told).toEqual(["read "]);
  await etcd.clock.advance(1_000);
  expect(told).toEqual(["read ", "read 1"]);
  await stop();
});

test("reads anew where what it missed is compacted", async () => {
  await using etcd = new VirtualEtcd();
  const { link, told, stop } = following(etcd);
  await etcd.clock.advance(100);
  await link.refuse();
  await put(etcd, "/f/a", "1");
  await put(etcd, "/f/a", "2");
  await Promise.all([etcd.compact(), etcd.clock.advance(10)]);
  await link.heal();
  await etcd.clock.advance(10_000);
  expect(told).toEqual(["read ", "read 2"]);
  await stop();
});

test("ends at once while it waits to try again, and leaves no timer", async () => {
  const etcd = new VirtualEtcd();
  const { link, stop } = following(etcd);
  await link.refuse();
  await etcd.clock.advance(30_000);
  await stop();
  await etcd.close();
  expect(etcd.clock.pending).toBe(0);
});
