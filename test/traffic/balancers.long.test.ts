import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DevServer } from "../../src/devserver/dev-server.ts";
import { Balancer, installed } from "./balancers.ts";
import { Services } from "./gateway-service.ts";
import { Load } from "./steady-requests.ts";

const perSecond = 200;
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

const start = (ttlSeconds: number, mode: "forward" | "respond"): Promise<Services> =>
  Services.start({ endpoint: server.endpoint, election: `/balanced/${++elections}`, ttlSeconds, mode });

/** Kills the leader; when another serves, stops that one, and lets it go on when a third serves. Since when all is well. */
async function killAndStop(load: Load, services: Services): Promise<number> {
  const killed = await load.served(between);
  await services.of(killed).child.kill();
  const stopped = await load.served(between, killed);
  await services.of(stopped).child.stop();
  await load.served(between, stopped);
  services.of(stopped).child.cont();
  await load.served(between);
  await services.restart(killed);
  await load.served(between);
  return performance.now();
}

describe.runIf(balancers.haproxy)("HAProxy, as the example has it", () => {
  test("passes 20 planned handovers without a failed request", { timeout: 240_000 }, async () => {
    await using services = await start(10, "forward");
    await using haproxy = await Balancer.haproxy(services.all);
    const load = new Load(haproxy.address, perSecond);
    for (let round = 0; round < 20; round++) {
      const leader = await load.served(between);
      await services.of(leader).handOver();
      await load.served(between, leader);
    }
    await load.end();
    expect(load.failures).toEqual([]);
  });

  test("moves the traffic when leaders are killed and stopped", { timeout: 240_000 }, async () => {
    await using services = await start(5, "forward");
    await using haproxy = await Balancer.haproxy(services.all);
    const load = new Load(haproxy.address, perSecond);
    const well = await killAndStop(load, services);
    await load.served(between);
    await load.end();
    // Requests under way at a leader that died or hung may fail; none that came when all was well again.
    expect(load.failures.filter(({ startedAt }) => startedAt > well)).toEqual([]);
    expect(load.failures.length).toBeLessThan(load.outcomes.length / 2);
  });
});

describe.runIf(balancers.nginx)("nginx without active checks, as the example has it", () => {
  test("finds the leader among members that refuse, whatever happens to it", {
    timeout: 240_000,
  }, async () => {
    await using services = await start(5, "respond");
    await using nginx = await Balancer.nginx(services.all);
    const load = new Load(nginx.address, perSecond);
    const leader = await load.served(between);
    await services.of(leader).handOver();
    await load.served(between, leader);
    const well = await killAndStop(load, services);
    await load.served(between);
    await load.end();
    // While nobody leads there is nobody to answer: a standby's 503 is told, or the death or silence of a leader.
    for (const { status } of load.failures) expect([502, 503, 504]).toContain(status);
    expect(load.failures.filter(({ startedAt }) => startedAt > well)).toEqual([]);
  });
});
