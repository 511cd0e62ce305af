import { expect, test } from "vitest";
import { Gateway } from "../../src/traffic/gateway.ts";
import { onEveryStore } from "../conformance/stores.ts";
import { eventually } from "../support/eventually.ts";
import { Load, type Outcome } from "./gateway-load.ts";
import { Service } from "./gateway-service.ts";

const perSecond = 200;
/** What a new leader shall have served before the next change. */
const servedBetween = 40;
const { LONG_TESTS: long } = process.env;
const kills = long === "1" ? 20 : 2;
/** A kept connection tells its client a moment after its leader died that it is dead. */
const noticeMs = 250;

onEveryStore("under steady load through a gateway", (store) => {
  test("20 planned handovers fail no request", { timeout: 240_000 }, async () => {
    const election = store.key("handovers");
    const services: Service[] = [];
    for (const name of ["a", "b", "c"])
      services.push(await Service.start(store.endpoint, election, name, 10));
    await using gateway = await open(store.endpoint, election);
    const load = new Load(gateway.address, perSecond);
    for (let round = 0; round < 20; round++) {
      const [leader, next] = services as [Service, Service];
      await served(load, leader.name);
      await leader.handOver();
      services.push(services.shift() as Service);
      await served(load, next.name);
    }
    await end(load);
    const { refusedFull, refusedLate, cutByTermEnd, cutByStaleness } = gateway.stats;
    const sentAway = { refusedFull, refusedLate, cutByTermEnd, cutByStaleness };
    expect({ failures: load.failures, ...sentAway }).toEqual({
      ...{ failures: [], refusedFull: 0, refusedLate: 0, cutByTermEnd: 0, cutByStaleness: 0 },
    });
    for (const service of services) await service.child.kill();
  });

  test(`${kills} kills fail only what was under way at the dead leader`, {
    timeout: 60_000 * kills,
  }, async () => {
    const election = store.key("kills");
    const services: Service[] = [];
    for (const name of ["a", "b", "c"]) services.push(await Service.start(store.endpoint, election, name, 2));
    await using gateway = await open(store.endpoint, election);
    const load = new Load(gateway.address, perSecond);
    const deaths: { readonly from: number; readonly to: number }[] = [];
    for (let round = 0; round < kills; round++) {
      const [leader, next] = services as [Service, Service];
      await served(load, leader.name);
      const from = performance.now();
      await leader.child.kill();
      deaths.push({ from, to: performance.now() });
      services.shift();
      await served(load, next.name);
      services.push(await Service.start(store.endpoint, election, leader.name, 2));
    }
    await end(load);
    const underWay = ({ startedAt, reused }: Outcome): boolean =>
      deaths.some(({ from, to }) => startedAt > from - 5_000 && startedAt < to + (reused ? noticeMs : 0));
    expect(load.failures.filter((failure) => !underWay(failure))).toEqual([]);
    // Nothing went to one who did not lead, and the gateway sent nobody away.
    expect(load.outcomes.filter(({ via }) => via !== undefined)).toEqual([]);
    expect(gateway.stats).toMatchObject({ refusedFull: 0, refusedLate: 0, cutByStaleness: 0 });
    for (const service of services) await service.child.kill();
  });
});

const open = (endpoint: string, election: string): Promise<Gateway> =>
  Gateway.open({ endpoints: [endpoint], election, port: 0 });

/** Waits until `name` has served a number of requests more. */
async function served(load: Load, name: string): Promise<void> {
  const from = load.outcomes.length;
  await eventually(
    () => {
      const count = load.outcomes.slice(from).filter(({ servedBy }) => servedBy === name).length;
      expect(count).toBeGreaterThanOrEqual(servedBetween);
    },
    { timeoutMs: 60_000 },
  );
}

/** Waits for the outcome of every request. */
async function end(load: Load): Promise<void> {
  load.stop();
  await eventually(() => expect(load.underWay).toBe(0), { timeoutMs: 60_000 });
  load.close();
}
