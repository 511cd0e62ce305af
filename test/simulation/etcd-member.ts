import { create } from "@bufbuild/protobuf";
import { StatusError } from "../../src/devserver/status-error.ts";
import type { WatchStream } from "../../src/devserver/watch-stream.ts";
import {
  type Event,
  type WatchRequest,
  type WatchResponse,
  WatchResponseSchema,
} from "../../src/etcd/gen/etcd_pb.ts";
import type { Metadata, RpcStatus } from "../../src/etcd/transport.ts";
import type { Cluster } from "./cluster.ts";
import type { Incoming, Lane, Outcome, Server, ServerStream, StreamClient } from "./link.ts";

export const statuses: Readonly<Record<StatusName, RpcStatus>> = {
  noLeader: { code: 14, message: "etcdserver: no leader" },
  leaderChanged: { code: 14, message: "etcdserver: leader changed" },
  timedOut: { code: 14, message: "etcdserver: request timed out" },
  invalidToken: { code: 16, message: "etcdserver: invalid auth token" },
  noUser: { code: 3, message: "etcdserver: user name is empty" },
  learner: { code: 14, message: "etcdserver: rpc not supported for learner" },
};

type StatusName = "noLeader" | "leaderChanged" | "timedOut" | "invalidToken" | "noUser" | "learner";

/** One member of etcd. */
export class EtcdMember implements Server {
  readonly name: string;
  readonly #cluster: Cluster;
  readonly #streams = new Set<MemberStream>();
  #stopped = 0;
  #frozen = 0;
  #isolated = 0;
  /** Since when the member knows that it is on its own. */
  #knowsIsolated = false;
  #slow: number[] = [];
  #starved = 0;
  #learning = 0;
  #held: (() => void)[] = [];
  onReset: () => void = () => {};

  constructor(cluster: Cluster, name: string) {
    this.#cluster = cluster;
    this.name = name;
  }

  get listening(): boolean {
    return this.#stopped === 0;
  }

  /** Whether watches hear nothing here. */
  get deaf(): boolean {
    return this.#starved > 0 || this.#frozen > 0 || this.#isolated > 0 || this.#cluster.paused;
  }

  /** The process of this member ends. */
  stop(): () => void {
    this.#stopped++;
    this.#held = [];
    this.onReset();
    return () => {
      this.#stopped--;
    };
  }

  /** The process is stopped by a signal; what was sent meanwhile it handles later. */
  freeze(): () => void {
    this.#frozen++;
    return () => {
      if (--this.#frozen === 0) this.#release();
    };
  }

  /** The member is cut off from the others, and learns it after a while. */
  isolate(noticeMs: number): () => void {
    this.#isolated++;
    const { agenda } = this.#cluster;
    const cancel = agenda.at(agenda.now + noticeMs, () => {
      if (this.#isolated === 0) return;
      this.#knowsIsolated = true;
      for (const stream of [...this.#streams]) stream.loseLeader();
    });
    return () => {
      cancel();
      if (--this.#isolated > 0) return;
      this.#knowsIsolated = false;
      this.#release();
    };
  }

  /** Everything takes up to `ms` longer here, and requests overtake each other. */
  slow(ms: number): () => void {
    this.#slow.push(ms);
    return () => {
      this.#slow.splice(this.#slow.indexOf(ms), 1);
    };
  }

  /** Watches hear nothing while all else goes on. */
  starve(): () => void {
    this.#starved++;
    return () => {
      this.#starved--;
      this.feed();
    };
  }

  /** The member is new: it takes no requests before it has learned what the others know. */
  learn(): () => void {
    this.#learning++;
    this.onReset();
    return () => {
      this.#learning--;
    };
  }

  unary(request: Incoming, answer: (outcome: Outcome) => void): void {
    this.#whenUp(() => this.#handle(request, answer));
  }

  stream(request: Omit<Incoming, "message">, client: StreamClient): ServerStream {
    const stream = new MemberStream(this, this.#cluster, request, client);
    this.#streams.add(stream);
    return stream;
  }

  /** @internal */
  forget(stream: MemberStream): void {
    this.#streams.delete(stream);
  }

  /** Hands on the events that were held up. */
  feed(): void {
    for (const stream of this.#streams) stream.feed();
  }

  /** @internal How long a request takes here. */
  get delayMs(): number {
    return this.#slow.length === 0 ? 0 : this.#cluster.random.next() * Math.max(...this.#slow);
  }

  /** @internal Runs `task` when the process runs. */
  whenThawed(task: () => void): void {
    if (this.#frozen > 0) this.#held.push(task);
    else task();
  }

  #whenUp(task: () => void): void {
    const { agenda } = this.#cluster;
    const run = (): void => {
      if (this.listening) this.whenThawed(task);
    };
    const { delayMs } = this;
    if (delayMs === 0) run();
    else agenda.at(agenda.now + delayMs, run);
  }

  #handle(request: Incoming, answer: (outcome: Outcome) => void): void {
    const cluster = this.#cluster;
    const { random } = cluster;
    const { method, metadata } = request;
    const wantsLeader = needsLeader(metadata);
    const refusal = cluster.refusal(method, metadata);
    if (this.learning) {
      answer({ status: statuses.learner });
    } else if (refusal !== undefined) {
      answer({ status: refusal });
    } else if (this.#isolated > 0) {
      if (this.#knowsIsolated && wantsLeader) answer({ status: statuses.noLeader });
      else
        this.waitForQuorum(
          () => answer(cluster.carryOut(request)),
          () => answer({ status: statuses.timedOut }),
        );
    } else if (cluster.electing || cluster.paused) {
      if (random.chance(0.4))
        answer({ status: random.chance(0.5) ? statuses.noLeader : statuses.leaderChanged });
      else
        this.waitForQuorum(
          () => answer(cluster.carryOut(request)),
          () => answer({ status: statuses.timedOut }),
        );
    } else {
      answer(cluster.carryOut(request));
    }
  }

  /** @internal A request that found no leader may be carried out when there is one again, asked for or not. */
  waitForQuorum(carryOut: () => void, giveUp: () => void): void {
    const { agenda, random } = this.#cluster;
    if (random.chance(0.5)) {
      agenda.at(agenda.now + 7_000, giveUp);
    } else if (this.#isolated > 0) {
      this.#held.push(carryOut);
    } else {
      this.#cluster.hold(carryOut);
    }
  }

  /** @internal */
  get isolated(): boolean {
    return this.#isolated > 0;
  }

  /** @internal */
  get learning(): boolean {
    return this.#learning > 0;
  }

  get knowsIsolated(): boolean {
    return this.#knowsIsolated;
  }

  #release(): void {
    if (this.#frozen > 0 || this.#isolated > 0) return;
    const { agenda } = this.#cluster;
    for (const task of this.#held.splice(0)) agenda.at(agenda.now, task);
    this.feed();
  }
}

interface WatchLane extends Lane {
  readonly held: WatchResponse[];
}

/** A client's stream at a member: keepalives or watches. */
class MemberStream implements ServerStream {
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

/** Whether the client wants to hear at once that there is no leader. */
function needsLeader({ hasleader }: Metadata): boolean {
  return hasleader === "true";
}
