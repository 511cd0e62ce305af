import { create } from "@bufbuild/protobuf";
import { StatusError } from "../../src/devserver/status-error.ts";
import type { WatchStream } from "../../src/devserver/watch-stream.ts";
import {
  type Event,
  type WatchRequest,
  type WatchResponse,
  WatchResponseSchema,
} from "../../src/etcd/gen/etcd_pb.ts";
import type { RpcStatus } from "../../src/etcd/transport.ts";
import type { Cluster } from "./cluster.ts";
import type { EtcdMember } from "./etcd-member.ts";
import { needsLeader, statuses } from "./etcd-status.ts";
import type { Incoming, Lane, ServerStream, StreamClient } from "./link.ts";

interface WatchLane extends Lane {
  readonly held: WatchResponse[];
}

/** A client's stream at a member: keepalives or watches. */
export class MemberStream implements ServerStream {
  readonly #member: EtcdMember;
  readonly #cluster: Cluster;
  readonly #request: Omit<Incoming, "message">;
  readonly #client: StreamClient;
  readonly #lane: Lane = { last: 0 };
  readonly #watches = new Map<bigint, WatchLane>();
  #watch: WatchStream | undefined;
  #handled: Lane = { last: 0 };
  #over = false;

  constructor(
    member: EtcdMember,
    cluster: Cluster,
    request: Omit<Incoming, "message">,
    client: StreamClient,
  ) {
    this.#member = member;
    this.#cluster = cluster;
    this.#request = request;
    this.#client = client;
  }

  handle(message: unknown): void {
    const { delayMs } = this.#member;
    const { agenda } = this.#cluster;
    const run = (): void => {
      if (this.#member.listening) this.#member.whenThawed(() => this.#handle(message));
    };
    const at = Math.max(this.#handled.last, agenda.now + delayMs);
    if (at <= agenda.now) {
      run();
      return;
    }
    this.#handled.last = at;
    agenda.at(at, run);
  }

  /** The member has found that there is no leader. */
  loseLeader(): void {
    if (needsLeader(this.#request.metadata)) this.#end(statuses.noLeader);
  }

  /** Hands on what was held up. */
  feed(): void {
    if (this.#member.deaf || this.#request.link.starved > 0) return;
    for (const lane of this.#watches.values()) {
      for (const response of lane.held.splice(0)) this.#client.send(response, lane);
    }
  }

  close(): void {
    this.#over = true;
    this.#member.forget(this);
    this.#watch?.close();
    this.#watch = undefined;
  }

  #handle(message: unknown): void {
    const { method, metadata } = this.#request;
    if (this.#over && method === "Watch") return;
    if (this.#member.knowsIsolated && needsLeader(metadata)) {
      this.#end(statuses.noLeader);
      return;
    }
    if (this.#member.learning) {
      this.#end(statuses.learner);
      return;
    }
    if (method === "Watch") this.#handleWatch(message as WatchRequest);
    else this.#keepAlive(message);
  }

  #keepAlive(message: unknown): void {
    const cluster = this.#cluster;
    const { link } = this.#request;
    if (link.deafToRenewals > 0) return;
    const renew = (): void => {
      const refusal = cluster.refusal("LeaseKeepAlive", this.#request.metadata);
      if (refusal !== undefined) {
        this.#end(refusal);
        return;
      }
      const outcome = cluster.carryOut({ ...this.#request, message });
      if ("status" in outcome) this.#end(outcome.status);
      else link.answerRenewal(() => this.#client.send(outcome.response, this.#lane));
    };
    if (this.#member.isolated || cluster.electing || cluster.paused) {
      this.#member.waitForQuorum(renew, () => this.#end(statuses.timedOut));
    } else renew();
  }

  #handleWatch(message: WatchRequest): void {
    const cluster = this.#cluster;
    const requiresLeader = needsLeader(this.#request.metadata);
    const refusal = cluster.refusal("Watch", this.#request.metadata);
    if (refusal !== undefined) {
      this.#refuseWatch(message, refusal);
      return;
    }
    try {
      this.#watch ??= cluster.store.watch(
        {
          send: (response) => this.#send(response),
          end: (error) => this.#end({ code: error.code, message: error.message }),
        },
        { requiresLeader },
      );
      this.#watch.handle(message);
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      this.#end({ code: error.code, message: error.message });
    }
  }

  /** etcd refuses a watch by a message, 3.4 with a text that says less than 3.5's. */
  #refuseWatch(message: WatchRequest, refusal: RpcStatus): void {
    const { random } = this.#cluster;
    if (random.chance(0.3)) {
      this.#end(refusal);
    } else if (message.requestUnion.case === "createRequest") {
      const old = random.chance(0.5);
      const cancelReason = old
        ? "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        : refusal.message;
      const watchId = old ? message.requestUnion.value.watchId : -1n;
      const response = create(WatchResponseSchema, { watchId, created: true, canceled: true, cancelReason });
      this.#client.send(response, this.#lane);
    }
  }

  /** A large answer comes in parts, and here already one of two events may. */
  #send(response: WatchResponse): void {
    const { events } = response;
    const whole = events.length < 2 || this.#cluster.random.chance(0.5);
    const parts = whole ? [response] : events.map((event, at) => part(response, event, at));
    for (const each of parts) this.#pass(each);
  }

  #pass(response: WatchResponse): void {
    if (this.#over) return;
    let lane = this.#watches.get(response.watchId);
    if (lane === undefined) {
      // etcd keeps no order across watches.
      lane = { last: 0, held: [] };
      this.#watches.set(response.watchId, lane);
    }
    const deaf = this.#member.deaf || this.#request.link.starved > 0;
    if (lane.held.length > 0 || (deaf && response.events.length > 0)) lane.held.push(response);
    else {
      const { agenda, random } = this.#cluster;
      lane.last = Math.max(
        lane.last,
        agenda.now + this.#member.delayMs + (random.chance(0.2) ? random.next() * 20 : 0),
      );
      this.#client.send(response, lane);
    }
  }

  #end(status: RpcStatus): void {
    if (this.#over) return;
    this.close();
    const { agenda } = this.#cluster;
    agenda.at(agenda.now, () => this.#client.end(status));
  }
}

function part(whole: WatchResponse, event: Event, at: number): WatchResponse {
  return create(WatchResponseSchema, { ...whole, events: [event], fragment: at < whole.events.length - 1 });
}
