import fc from "fast-check";
import { expect, test } from "vitest";
import { Candidacy } from "../../src/concurrency/candidacy.ts";
import { Session } from "../../src/concurrency/session.ts";
import { toBytes } from "../../src/etcd/bytes.ts";
import type { Etcd } from "../../src/etcd/etcd.ts";
import { MemoryEtcd, type MemoryNetwork } from "../support/memory-transport.ts";

const { PROPERTY_RUNS: propertyRuns = "60" } = process.env;

const faults = {
  silent: (network: MemoryNetwork) => {
    network.silent = true;
  },
  "silent, and late": (network: MemoryNetwork) => {
    network.silent = true;
    network.lateRequests = true;
  },
  "no answers": (network: MemoryNetwork) => {
    network.dropAnswers = true;
  },
  "no reads": (network: MemoryNetwork) => {
    network.silent = (method) => method === "Txn";
  },
  "no keepalives": (network: MemoryNetwork) => {
    network.silent = (method) => method === "LeaseKeepAlive";
  },
  deaf: (network: MemoryNetwork) => {
    network.holdEvents = true;
  },
  slow: (network: MemoryNetwork) => {
    network.delayMs = 700;
  },
  "one endpoint silent": (network: MemoryNetwork) => {
    for (const link of network.links.slice(1)) link.silent = true;
  },
  refusing: (network: MemoryNetwork) => {
    network.refuse = true;
    network.break();
  },
  broken: (network: MemoryNetwork) => network.break(),
  healed: (network: MemoryNetwork) => {
    network.delayMs = 0;
    network.heal();
  },
} as const;

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      on: fc.constant("fault" as const),
      who: fc.nat(2),
      fault: fc.constantFrom(...(Object.keys(faults) as (keyof typeof faults)[])),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ on: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 9_000 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ on: fc.constant("suspended" as const), ms: fc.integer({ min: 1, max: 20_000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ on: fc.constant("resign" as const), who: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ on: fc.constant("raft leader changes" as const) }) },
);

/** A process that stands in the election, again and again. */
class Process {
  readonly network: MemoryNetwork;
  readonly etcd: Etcd;
  readonly tokens: bigint[] = [];
  candidacy: Candidacy | undefined;
  #over = false;
  readonly #mates: readonly Process[];

  constructor(memory: MemoryEtcd, mates: readonly Process[]) {
    this.network = memory.network(2);
    this.etcd = this.network.client();
    this.#mates = mates;
  }

  get leads(): boolean {
    return (this.candidacy?.term?.remainingMs ?? 0) > 0;
  }

  async run(wrong: string[]): Promise<void> {
    while (!this.#over) {
      try {
        const session = await Session.open(this.etcd, { ttlSeconds: 5 });
        const candidacy = await Candidacy.join(session, "/e", toBytes("v"), { stopTimeoutMs: 500 });
        this.candidacy = candidacy;
        candidacy.onElected = (term) => {
          this.tokens.push(term.token);
          if (this.#mates.filter((each) => each.leads).length > 1) wrong.push("two lead at an election");
        };
        candidacy.start();
        await new Promise((resolve) => candidacy.signal.addEventListener("abort", resolve, { once: true }));
        await candidacy.release().catch(() => {});
        await session.close();
      } catch {
        // The next round tries again.
      }
    }
  }

  stop(): void {
    this.#over = true;
    this.candidacy?.end("resigned");
  }
}

test("property: of three processes no two lead at any time, tokens grow, and somebody leads in the end", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 1, max: 1e6 }),
      async (steps, seed) => {
        const memory = new MemoryEtcd(seed);
        const { clock, store } = memory;
        const processes: Process[] = [];
        const wrong: string[] = [];
        for (let at = 0; at < 3; at++) processes.push(new Process(memory, processes));
        const running = processes.map((each) => each.run(wrong));
        const tokens: bigint[] = [];
        const look = (): void => {
          if (processes.filter((each) => each.leads).length > 1) wrong.push(`two lead at ${clock.now()}`);
        };
        const wait = async (ms: number): Promise<void> => {
          for (let left = ms; left > 0; left -= 250) {
            await clock.advance(Math.min(left, 250));
            look();
          }
        };
        for (const each of steps) {
          if (each.on === "fault") faults[each.fault]((processes[each.who] as Process).network);
          else if (each.on === "wait") await wait(each.ms);
          else if (each.on === "suspended") clock.jump(each.ms);
          else if (each.on === "resign") processes[each.who]?.candidacy?.end("resigned");
          else store.refillLeases();
          look();
        }
        for (const { network } of processes) faults.healed(network);
        await wait(40_000);
        expect(wrong).toEqual([]);
        expect(processes.filter((each) => each.leads)).toHaveLength(1);
        // One key for each: nothing is left of former candidacies.
        expect(store.range({ key: toBytes("/e/"), rangeEnd: toBytes("/e0") }).kvs).toHaveLength(3);
        for (const each of processes) tokens.push(...each.tokens);
        expect(new Set(tokens).size).toBe(tokens.length);
        for (const each of processes) each.stop();
        await wait(15_000);
        await Promise.all(running);
        await Promise.all(processes.map((each) => each.etcd.close()));
        expect(memory.pending).toBe(0);
      },
    ),
    { numRuns: Number(propertyRuns) },
  );
}, 120_000);
