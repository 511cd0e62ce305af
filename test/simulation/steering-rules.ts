import { toBytes, toText } from "../../src/etcd/bytes.ts";
import type { Compare, TxnRequest } from "../../src/etcd/gen/etcd_pb.ts";
import { handoverKey, pauseKey } from "../../src/steering/names.ts";
import { leaseOf } from "./claims.ts";
import type { Host } from "./host.ts";
import { MemberProgram } from "./member-program.ts";
import type { Simulation } from "./simulation.ts";
import type { TrueKey } from "./truth.ts";

/** What must hold where leaders are chosen. */
export class SteeringRules {
  readonly #simulation: Simulation;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  /** Whether a key is another process's: it may be passed over, and never given up for it. */
  isOthers(host: Host, key: string): boolean {
    const owner = this.#simulation.cluster.leases.get(leaseOf(key))?.owner;
    return owner !== undefined && owner !== host;
  }

  /** A process asks for the deletion of another one's key. */
  passing(host: Host, key: string, token: bigint, { compare }: TxnRequest): void {
    const { scenario } = this.#simulation;
    const guards = new Map(compare.flatMap((each) => guardIn(each)));
    const own = [...guards].find(([name, its]) => its !== 0n && its < token && !this.isOthers(host, name));
    const target = [...guards].find(([, its]) => its > token);
    const missing = [
      ...(guards.get(pauseKey(scenario.election)) === 0n ? [] : ["the pause"]),
      ...(own === undefined ? ["its own key, as the leader"] : []),
      ...(target === undefined ? ["the key of whoever is to lead"] : []),
    ];
    if (missing.length === 0) return;
    const text = `${host.name} passes over ${key}@${token}, and does not compare ${missing.join(" and ")}`;
    this.#simulation.violation("unguarded-passing", text);
  }

  /** A process has deleted another one's key: the leader may, of a member that waits, while nothing is paused. */
  passed(by: Host, { key, token }: TrueKey): void {
    const { truth, cluster, scenario } = this.#simulation;
    const leader = truth.line[0];
    const paused = cluster.store.range({ key: toBytes(pauseKey(scenario.election)) }).kvs.length > 0;
    const owner = this.#simulation.cluster.leases.get(leaseOf(key))?.owner;
    const returns =
      typeof owner !== "object" || this.#simulation.programOf(owner) === undefined
        ? true
        : this.#simulation.programOf(owner) instanceof MemberProgram;
    const leads = leader !== undefined && !this.isOthers(by, leader.key) && leader.token < token;
    if (leads && !paused && returns) return;
    this.#simulation.violation(
      "foreign-delete",
      `${by.name} removed ${key}@${token}, which is not its own${paused ? ", while it is paused" : ""}`,
    );
  }

  /** What a process writes into a request: only the leader that it means accepts it. */
  answering(host: Host, { compare, success }: TxnRequest): void {
    const name = handoverKey(this.#simulation.scenario.election);
    for (const { request } of success) {
      if (request.case !== "requestPut" || toText(request.value.key) !== name) continue;
      const { token, answer } = JSON.parse(toText(request.value.value)) as {
        token: number;
        answer?: { at: string };
      };
      if (answer?.at !== "accepted") continue;
      const guards = compare.flatMap((each) => guardIn(each));
      if (guards.some(([key, its]) => its === BigInt(token) && !this.isOthers(host, key))) continue;
      const text = `${host.name} accepts a handover of the term ${token}, which is not its own`;
      this.#simulation.violation("stale-request", text);
    }
  }
}

/** The create revision that a comparison wants. */
function guardIn({ key, targetUnion, result }: Compare): [string, bigint][] {
  return targetUnion.case === "createRevision" && result === 0 ? [[toText(key), targetUnion.value]] : [];
}
