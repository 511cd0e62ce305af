import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Balancer, installed } from "./balancers.ts";
import { type Service, startThree } from "./gateway-service.ts";
import { Load, type Outcome } from "./steady-requests.ts";

const perSecond = 100;
const between = 40;
const balancers = { haproxy: installed("haproxy"), nginx: installed("nginx") };

for (const [name, here] of Object.entries(balancers)) {
  if (!here) process.stderr.write(`\n*** ${name} is NOT INSTALLED: its configuration is not tested ***\n\n`);
}

let server: DevServer;
let elections = 0;
beforeAll(async () => {
  server = await DevServer.start();
});
afterAll(() => server.close());

const three = (ttlSeconds: number, mode: "forward" | "refuse"): Promise<Service[]> =>
  startThree({ endpoint: server.endpoint, election: `/balanced/${++elections}`, ttlSeconds, mode });

/** Kills the leader, lets it come back, stops the next one and lets it go on. */
async function killAndStop(load: Load, [a, b, c]: Service[]): Promise<void> {
  if (a === undefined || b === undefined || c === undefined) throw new Error("three services are needed");
  await load.servedBy(a.name, between);
  await a.child.kill();
  await load.servedBy(b.name, between);
  await b.child.stop();
  await load.servedBy(c.name, between);
  b.child.cont();
  await load.servedBy(c.name, between);
}

describe.runIf(balancers.haproxy)("HAProxy, as the example has it", () => {
  test("passes 20 planned handovers without a failed request", { timeout: 240_000 }, async () => {
    const services = await three(10, "forward");
    await using haproxy = await Balancer.haproxy(services);
    const load = new Load(haproxy.address, perSecond);
    for (let round = 0; round < 20; round++) {
      const [leader, next] = services as [Service, Service];
      await load.servedBy(leader.name, between);
      await leader.handOver();
      services.push(services.shift() as Service);
      await load.servedBy(next.name, between);
    }
    await load.end();
    expect(load.failures).toEqual([]);
    for (const service of services) await service.child.kill();
  });

  test("moves the traffic when leaders are killed and stopped", { timeout: 180_000 }, async () => {
    const services = await three(5, "forward");
    await using haproxy = await Balancer.haproxy(services);
    const load = new Load(haproxy.address, perSecond);
    await killAndStop(load, services);
    const well = performance.now();
    await load.servedBy("c", between);
    await load.end();
    // Requests under way at a leader that died or hung may fail; none that came when all was well again.
    expect(load.failures.filter(({ startedAt }) => startedAt > well)).toEqual([]);
    expect(load.failures.length).toBeLessThan(load.outcomes.length / 2);
    for (const service of services) await service.child.kill();
  });
});

describe.runIf(balancers.nginx)("nginx without active checks, as the example has it", () => {
  test("finds the leader among members that refuse, whatever happens to it", {
    timeout: 180_000,
  }, async () => {
    const services = await three(5, "refuse");
    await using nginx = await Balancer.nginx(services);
    const load = new Load(nginx.address, perSecond);
    await load.servedBy("a", between);
    // While all is well no request is answered by a standby.
    expect(load.failures).toEqual([]);
    const [leader] = services as [Service];
    await leader.handOver();
    services.push(services.shift() as Service);
    await killAndStop(load, services);
    const well = performance.now();
    await load.servedBy("a", between);
    await load.end();
    // While nobody leads there is nobody to answer: the last standby's 503, or the death of a leader, is told.
    const told = new Set(load.failures.map(({ status }: Outcome) => status));
    for (const status of told) expect([502, 503, 504]).toContain(status);
    expect(load.failures.filter(({ startedAt }) => startedAt > well)).toEqual([]);
    for (const service of services) await service.child.kill();
  });
});
