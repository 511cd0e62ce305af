import { expect, test } from "vitest";
import { Member } from "../../src/member/member.ts";
import { Gateway } from "../../src/traffic/gateway.ts";
import { onEveryStore, type Store } from "../conformance/stores.ts";
import { eventually } from "../support/eventually.ts";
import { Client, NamedService } from "./tcp.ts";

type GatewaySettings = Partial<Parameters<typeof Gateway.open>[0]>;

const open = (store: Store, election: string, settings: GatewaySettings = {}): Promise<Gateway> =>
  Gateway.open({ endpoints: [store.endpoint], election, port: 0, ...settings } as never);

const join = (store: Store, election: string, service: NamedService, ttlSeconds = 10): Promise<Member> =>
  Member.join({
    ...{ endpoints: [store.endpoint], election, ttlSeconds },
    ...{ id: service.name, address: service.address },
  });

onEveryStore("a gateway", (store) => {
  test("passes connections on to the leader, and on a handover new ones to the next", async () => {
    const election = store.key("handover");
    await using one = await NamedService.start("one");
    await using two = await NamedService.start("two");
    await using gateway = await open(store, election, { drainMs: 60_000 });
    await using first = await join(store, election, one);
    await using _second = await join(store, election, two);
    using before = new Client(gateway.address);
    before.write("a");
    await before.sees("one: a");
    await first.leave();
    using after = new Client(gateway.address);
    after.write("b");
    await after.sees("two: b");
    // The old one may end in peace.
    before.write("c");
    await before.sees("one: c");
    before.socket.end();
    await before.sees("bye from one");
    expect(await before.end()).toBe("end");
    expect(gateway.stats).toMatchObject({ cutByTermEnd: 0, broken: 0, forwarded: 2 });
    await gateway.close({ drainMs: 0 });
  });

  test("cuts at once what went to a leader whose term ended otherwise, and never passes on to it again", async () => {
    const election = store.key("cut");
    await using one = await NamedService.start("one");
    await using two = await NamedService.start("two");
    await using gateway = await open(store, election);
    await using first = await join(store, election, one);
    await using _second = await join(store, election, two);
    using before = new Client(gateway.address);
    await before.sees("hello from one");
    await store.client().delete(first.term?.key ?? "");
    expect(await before.end()).toBe("ECONNRESET");
    using after = new Client(gateway.address);
    await after.sees("hello from two");
    expect(gateway.stats).toMatchObject({ cutByTermEnd: 1, open: 1 });
    await gateway.close({ drainMs: 0 });
  });

  test("lets new connections wait while nobody leads", async () => {
    const election = store.key("nobody");
    await using one = await NamedService.start("one");
    await using gateway = await open(store, election);
    const clients = Array.from({ length: 50 }, () => new Client(gateway.address));
    for (const client of clients) client.write("x");
    await eventually(() => expect(gateway.stats.waiting).toBe(50));
    await using _member = await join(store, election, one);
    for (const client of clients) await client.sees("one: x");
    for (const client of clients) client.socket.end();
    for (const client of clients) expect(await client.end()).toBe("end");
    expect(gateway.stats).toMatchObject({ accepted: 50, forwarded: 50, waiting: 0, connectFailures: 0 });
  });

  test("takes the address from an id, where there are no details, and from a template", async () => {
    const election = store.key("id");
    await using one = await NamedService.start("one");
    await using gateway = await open(store, election);
    await using templated = await open(store, election, { target: `{host}:${one.port}` });
    const etcd = store.client();
    await etcd.put(`${election}/1`, `a:${one.address}`);
    using byId = new Client(gateway.address);
    await byId.sees("hello from one");
    await etcd.put(`${election}/1`, "a:127.0.0.1:1");
    using byTemplate = new Client(templated.address);
    await byTemplate.sees("hello from one");
    await gateway.close({ drainMs: 0 });
    await templated.close({ drainMs: 0 });
  });
});
