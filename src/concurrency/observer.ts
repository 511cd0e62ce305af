import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { byCreation } from "../etcd/ops.ts";
import { Feed } from "../feed.ts";
import { onAbort, unlessAborted } from "../waiting.ts";
import { type Candidate, candidate, Line } from "./line.ts";
import { checkElection } from "./naming.ts";

/** Who leads. */
export type Leader = Candidate;

export interface ObserveOptions {
  readonly signal?: AbortSignal;
  /** Told how many leaders were skipped because the reader was slow. */
  readonly onSkipped?: (count: number) => void;
}

/** Follows an election without standing in it. */
export class Observer {
  /** The name of the election. */
  readonly election: string;
  /** @internal */
  protected readonly etcd: Etcd;

  constructor(etcd: Etcd, election: string) {
    checkElection(election);
    this.etcd = etcd;
    this.election = election;
  }

  /** Who leads now, by a linearizable read; `undefined` if nobody does. */
  async leader(options: CallOptions = {}): Promise<Leader | undefined> {
    const request = byCreation(`${this.election}/`, 1);
    const { response } = await this.etcd.call(KV.method.range, request, { ...options, idempotent: true });
    const first = response.kvs[0];
    return first === undefined ? undefined : candidate(first);
  }

  /** The line of succession now, by a linearizable read: the leader first. */
  async candidates(options: CallOptions = {}): Promise<readonly Candidate[]> {
    const request = byCreation(`${this.election}/`);
    const { response } = await this.etcd.call(KV.method.range, request, { ...options, idempotent: true });
    return response.kvs.map(candidate);
  }

  /**
   * Every leader in order, the present one first, `undefined` while there is none; also a leader's new value. A reader
   * who is 1024 changes behind is taken to the newest one, and `onSkipped` is told how many he missed.
   */
  async *observe(options: ObserveOptions = {}): AsyncGenerator<Leader | undefined, void> {
    const { signal, onSkipped } = options;
    signal?.throwIfAborted();
    const line = Line.acquire(this.etcd, this.election);
    const feed = new Feed<Leader | undefined>();
    const forgets: (() => void)[] = [];
    try {
      let shown: Leader | undefined;
      let first = true;
      const show = (): void => {
        const { leader } = line;
        if (
          !line.synced ||
          (!first && leader?.token === shown?.token && leader?.revision === shown?.revision)
        )
          return;
        first = false;
        shown = leader;
        feed.push(leader);
      };
      forgets.push(line.subscribe(show));
      forgets.push(onAbort(signal, () => feed.end(signal?.reason)));
      forgets.push(onAbort(this.etcd.closedSignal, () => feed.end(this.etcd.closedSignal.reason)));
      await unlessAborted(line.sync(), signal);
      if (first) show();
      for await (const { value, skipped } of feed) {
        if (skipped > 0) {
          this.etcd.logger.warn({ election: this.election, skipped }, "a slow observer missed leaders");
          onSkipped?.(skipped);
        }
        yield value;
      }
    } finally {
      for (const forget of forgets) forget();
      line.release();
    }
  }
}
