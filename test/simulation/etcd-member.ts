import type { Cluster } from "./cluster.ts";
import { needsLeader, statuses } from "./etcd-status.ts";
import type { Incoming, Outcome, Server, ServerStream, StreamClient } from "./link.ts";
import { MemberStream } from "./member-stream.ts";

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
    const { link, method } = request;
    // Streams need a token, too.
    const passes = method === "Authenticate";
    const answered = (outcome: Outcome): void => {
      if (passes || link.muteRequests === 0) answer(outcome);
    };
    const pass = (): void => this.#whenUp(() => this.#handle(request, answered));
    if (passes) pass();
    else link.request(pass);
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
