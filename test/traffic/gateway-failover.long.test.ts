import { expect, test } from "vitest";
import type { GatewayStats } from "../../src/traffic/gateway-stats.ts";
import { succession } from "../cli/succession.ts";
import { onEveryStore } from "../conformance/stores.ts";
import type { Child } from "../support/processes.ts";
import { Services } from "./gateway-service.ts";
import { Load, type Outcome } from "./steady-requests.ts";

const perSecond = 200;
/** What a leader shall have served before the next change. */
const between = 40;
const { TRAFFIC_KILLS: wanted = "20" } = process.env;
const kills = Number(wanted);
/** A kept connection tells its client a moment after its leader died that it is dead; until then he may send on it. */
const untoldMs = 250;
/** So long it may take on a busy machine until a failure is noticed. */
const noticeMs = 2_000;

/** A gateway in a process of its own. */
class GatewayProcess implements AsyncDisposable {
  readonly address: string;
  readonly #child: Child;

  static async start(endpoint: string, election: string): Promise<GatewayProcess> {
    const args = ["gateway", election, "--listen", "127.0.0.1:0", "--endpoints", endpoint, "--json"];
    const child = succession(args);
    const { address } = JSON.parse(await child.waitFor("listening", 60_000));
    return new GatewayProcess(address, child);
  }

  private constructor(address: string, child: Child) {
    this.address = address;
    this.#child = child;
  }

  /** Ends it and reads its counters. */
  async end(): Promise<GatewayStats> {
    this.#child.signal("SIGTERM");
    expect(await this.#child.exit).toEqual({ code: 0, signal: null });
    return JSON.parse(this.#child.lines.at(-1) ?? "") as GatewayStats;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.kill();
  }
}

onEveryStore("under steady load through a gateway", (store) => {
  test("20 planned handovers fail no request", { timeout: 240_000 }, async () => {
    const { endpoint } = store;
    const election = store.key("handovers");
    await using services = await Services.start({ endpoint, election, ttlSeconds: 10 });
    await using gateway = await GatewayProcess.start(endpoint, election);
    const load = new Load(gateway.address, perSecond);
    for (let round = 0; round < 20; round++) {
      const leader = await load.served(between);
      await services.of(leader).handOver();
      await load.served(between, leader);
    }
    await load.end();
    const { refusedFull, refusedLate, cutByTermEnd, cutByStaleness, cutByDrainEnd } = await gateway.end();
    const sentAway = { refusedFull, refusedLate, cutByTermEnd, cutByStaleness, cutByDrainEnd };
    expect({ failures: load.failures, ...sentAway }).toEqual({
      ...{ failures: [], refusedFull: 0, refusedLate: 0 },
      ...{ cutByTermEnd: 0, cutByStaleness: 0, cutByDrainEnd: 0 },
    });
  });

  const title = `${kills} kills fail only what was under way at the dead leader`;
  test(title, { timeout: 120_000 + 60_000 * kills }, async () => {
    const { endpoint } = store;
    const election = store.key("kills");
    // Their standbys refuse, so that whatever reached one would show.
    await using services = await Services.start({ endpoint, election, ttlSeconds: 10, mode: "respond" });
    await using gateway = await GatewayProcess.start(endpoint, election);
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
    // However long a request had waited before: what was sent before the leader's death and fails with it was under way.
    const underWay = ({ reused, startedAt, endedAt }: Outcome): boolean =>
      deaths.some(({ from, to }) => {
        const untold = reused ? untoldMs : 0;
        return startedAt < to + untold && endedAt >= from && endedAt < to + noticeMs;
      });
    const { refusedFull, refusedLate, cutByStaleness } = await gateway.end();
    const failures = load.failures.filter((failure) => failure.status !== undefined || !underWay(failure));
    expect({ failures, refusedFull, refusedLate, cutByStaleness }).toEqual({
      ...{ failures: [], refusedFull: 0, refusedLate: 0, cutByStaleness: 0 },
    });
  });
});
