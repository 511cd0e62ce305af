import { expect, test } from "vitest";
import { Gateway } from "../../src/traffic/gateway.ts";
import { onEveryStore } from "../conformance/stores.ts";
import { Services } from "./gateway-service.ts";
import { Load, type Outcome } from "./steady-requests.ts";

const perSecond = 200;
/** What a leader shall have served before the next change. */
const between = 40;
const { LONG_TESTS: long } = process.env;
const kills = long === "1" ? 20 : 2;
/** A kept connection tells its client a moment after its leader died that it is dead. */
const noticeMs = 250;

const open = (endpoint: string, election: string): Promise<Gateway> =>
  Gateway.open({ endpoints: [endpoint], election, port: 0 });

onEveryStore("under steady load through a gateway", (store) => {
  test("20 planned handovers fail no request", { timeout: 240_000 }, async () => {
    const { endpoint } = store;
    const election = store.key("handovers");
    await using services = await Services.start({ endpoint, election, ttlSeconds: 10 });
    await using gateway = await open(endpoint, election);
    const load = new Load(gateway.address, perSecond);
    for (let round = 0; round < 20; round++) {
      const leader = await load.served(between);
      await services.of(leader).handOver();
      await load.served(between, leader);
    }
    await load.end();
    const { refusedFull, refusedLate, cutByTermEnd, cutByStaleness } = gateway.stats;
    const sentAway = { refusedFull, refusedLate, cutByTermEnd, cutByStaleness };
    expect({ failures: load.failures, ...sentAway }).toEqual({
      ...{ failures: [], refusedFull: 0, refusedLate: 0, cutByTermEnd: 0, cutByStaleness: 0 },
    });
  });

  const title = `${kills} kills fail only what was under way at the dead leader`;
  test(title, { timeout: 120_000 + 60_000 * kills }, async () => {
    const { endpoint } = store;
    const election = store.key("kills");
    // Their standbys refuse, so that whatever reached one would show.
    await using services = await Services.start({ endpoint, election, ttlSeconds: 5, mode: "refuse" });
    await using gateway = await open(endpoint, election);
    const load = new Load(gateway.address, perSecond);
    const deaths: { readonly from: number; readonly to: number }[] = [];
    for (let round = 0; round < kills; round++) {
      const leader = await load.served(between);
      const from = performance.now();
      await services.of(leader).child.kill();
      deaths.push({ from, to: performance.now() });
      await load.served(between, leader);
      await services.restart(leader);
    }
    await load.end();
    const underWay = ({ startedAt, reused }: Outcome): boolean =>
      deaths.some(({ from, to }) => startedAt > from - 5_000 && startedAt < to + (reused ? noticeMs : 0));
    const { refusedFull, refusedLate, cutByStaleness } = gateway.stats;
    const failures = load.failures.filter((failure) => failure.status !== undefined || !underWay(failure));
    expect({ failures, refusedFull, refusedLate, cutByStaleness }).toEqual({
      ...{ failures: [], refusedFull: 0, refusedLate: 0, cutByStaleness: 0 },
    });
  });
});
