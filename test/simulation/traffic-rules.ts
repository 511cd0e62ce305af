import { toText } from "../../src/etcd/bytes.ts";
import {
  type Compare,
  type Event,
  Event_EventType,
  type KeyValue,
  type LeaseKeepAliveRequest,
  type TxnRequest,
  type WatchRequest,
  type WatchResponse,
} from "../../src/etcd/gen/etcd_pb.ts";
import type { Metadata } from "../../src/etcd/transport.ts";
import { claim } from "./claims.ts";
import type { Host } from "./host.ts";
import type { Monitor } from "./link.ts";
import type { Program } from "./program.ts";
import type { Rules } from "./rules.ts";
import type { Simulation } from "./simulation.ts";

/** A watch of a process, across all the streams that it has been on. */
interface FollowedWatch {
  /** The last revision of which it was told, or the one before its first. */
  last: bigint;
  /** Events of a revision whose other parts are still to come. */
  parts: Event[];
}

/** A state of the store that a process has been shown. */
interface Known {
  readonly revision: bigint;
  readonly cluster: bigint;
}

/** What must hold of what processes send, and of what they make of what they hear. */
export class TrafficRules implements Monitor {
  readonly #simulation: Simulation;
  readonly #rules: Rules;
  readonly #watches = new WeakMap<object, Map<bigint, FollowedWatch>>();
  readonly #followed = new Map<string, FollowedWatch>();
  readonly #knownRevision = new WeakMap<Program, Known>();
  readonly #askedAt = new WeakMap<object, Known>();
  /** What etcd has got last from a process, in the order of sending. */
  readonly #newest = new WeakMap<Host, { readonly order: number; readonly connection: object }>();

  constructor(simulation: Simulation, rules: Rules) {
    this.#simulation = simulation;
    this.#rules = rules;
  }

  sent(host: Host, method: string, request: unknown, metadata: Metadata, question: object): void {
    const { hasleader } = metadata;
    if (method !== "Authenticate" && hasleader !== "true") {
      this.#simulation.violation(
        "no-hasleader",
        `${host.name} would wait for a member of etcd without a leader`,
      );
    }
    if (method === "Txn") this.#sentTxn(host, request as TxnRequest);
    if (method === "DeleteRange")
      this.#simulation.violation("unguarded-delete", `${host.name} deletes without a comparison`);
    if (method === "Watch") this.#sentWatch(host, request as WatchRequest, question);
    if (method === "LeaseKeepAlive") this.#rules.works.renewing(host, (request as LeaseKeepAliveRequest).ID);
    if (method === "Txn" || method === "Range") {
      const program = this.#simulation.programOf(host);
      const known = program === undefined ? undefined : this.#knownRevision.get(program);
      if (known !== undefined) this.#askedAt.set(question, { ...known });
    }
  }

  arrived(host: Host, connection: object, order: number, dropped: boolean): void {
    if (dropped) this.#simulation.occurred("dropped-arrived");
    const newest = this.#newest.get(host);
    if (newest === undefined || order > newest.order) this.#newest.set(host, { order, connection });
    else if (newest.connection !== connection) this.#simulation.occurred("overtaken");
  }

  #sentTxn(host: Host, txn: TxnRequest): void {
    const { compare, success } = txn;
    this.#rules.steering.answering(host, txn);
    for (const { request } of success) {
      if (request.case !== "requestDeleteRange") continue;
      const key = toText(request.value.key);
      const isCandidate = key.startsWith(`${this.#simulation.scenario.election}/`);
      const unchanged = (each: Compare): boolean =>
        each.targetUnion.case === "modRevision" && toText(each.key) === key && each.result === 0;
      // A request is withdrawn only as it was written, before it is answered.
      if (!isCandidate && compare.some(unchanged)) continue;
      const guard = compare.find(
        (each) => each.targetUnion.case === "createRevision" && toText(each.key) === key && each.result === 0,
      );
      if (guard?.targetUnion.case !== "createRevision") {
        this.#simulation.violation("unguarded-delete", `${host.name} deletes ${key} whoever put it`);
        continue;
      }
      const token = guard.targetUnion.value;
      if (isCandidate && this.#rules.steering.isOthers(host, key)) {
        this.#rules.steering.passing(host, key, token, txn);
        continue;
      }
      this.#rules.claims.add(key, token);
      this.#rules.works.deleting(host, key, token);
    }
  }

  /** A watch that is opened again goes on where it stopped, or it may miss something. */
  #sentWatch(host: Host, { requestUnion }: WatchRequest, stream: object): void {
    let watches = this.#watches.get(stream);
    if (watches === undefined) {
      watches = new Map();
      this.#watches.set(stream, watches);
    }
    if (requestUnion.case === "cancelRequest") watches.delete(requestUnion.value.watchId);
    if (requestUnion.case !== "createRequest") return;
    const { watchId, startRevision, key } = requestUnion.value;
    const name = `${host.name} ${toText(key)} ${watchId}`;
    const known = this.#followed.get(name);
    const followed = known ?? { last: startRevision - 1n, parts: [] };
    followed.parts = [];
    watches.set(watchId, followed);
    if (known === undefined) {
      const program = this.#simulation.programOf(host);
      const read = program === undefined ? undefined : this.#knownRevision.get(program);
      if (read !== undefined && startRevision > read.revision + 1n) {
        this.#simulation.violation(
          "watch-too-late",
          `${host.name} watches from ${startRevision}, having read ${read.revision}`,
        );
      }
      this.#followed.set(name, followed);
    } else if (startRevision > known.last + 1n) {
      this.#simulation.violation(
        "watch-too-late",
        `${host.name} goes on at ${startRevision} after ${known.last}`,
      );
    }
  }

  heard(host: Host, method: string, answer: unknown, question: object): void {
    if (method === "Watch") this.#heardWatch(host, answer as WatchResponse, question);
    if (method !== "Txn" && method !== "Range") return;
    const { header } = answer as { header?: { revision: bigint; clusterId: bigint } };
    const program = this.#simulation.programOf(host);
    if (header === undefined || program === undefined) return;
    const asked = this.#askedAt.get(question);
    const known = this.#knownRevision.get(program);
    const wentBack =
      asked !== undefined &&
      ((asked.cluster !== 0n && header.clusterId !== asked.cluster) || header.revision < asked.revision);
    // What was known before counts no more; requests from before are answered after.
    const isFirst =
      wentBack && known !== undefined && known.revision >= asked.revision && known.cluster === asked.cluster;
    if (isFirst) {
      const leading = this.#rules.leading.get(program);
      if (leading !== undefined) this.#rules.mustStandBy.set(program, claim(leading.key, leading.token));
    }
    const isNews =
      known !== undefined && header.revision > known.revision && header.clusterId === known.cluster;
    if (isFirst || isNews || (known === undefined && !wentBack)) {
      this.#knownRevision.set(program, { revision: header.revision, cluster: header.clusterId });
    }
  }

  #heardWatch(host: Host, response: WatchResponse, stream: object): void {
    const followed = this.#watches.get(stream)?.get(response.watchId);
    if (followed === undefined || response.events.length === 0) return;
    followed.parts.push(...response.events);
    if (response.fragment) return;
    const program = this.#simulation.programOf(host);
    const events = followed.parts.splice(0);
    if (program !== undefined)
      for (const { type, kv } of events) if (kv !== undefined) this.#heardOf(program, type, kv);
    followed.last = events.at(-1)?.kv?.modRevision ?? followed.last;
  }

  #heardOf(program: Program, type: Event_EventType, kv: KeyValue): void {
    const key = toText(kv.key);
    this.#rules.waiting.heardGone(program, kv, key);
    const leading = this.#rules.leading.get(program);
    if (leading?.key !== key || kv.modRevision <= leading.token) return;
    if (type === Event_EventType.DELETE || kv.lease !== leading.lease) {
      this.#rules.mustStandBy.set(program, claim(leading.key, leading.token));
    }
  }
}
