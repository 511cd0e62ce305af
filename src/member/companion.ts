import type { Line } from "../concurrency/line.ts";
import type { Cause } from "../errors.ts";
import type { Etcd } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import type { Metric } from "../metric.ts";

/** What a companion needs of the member's surroundings; they stand until its `left` has settled. */
export interface Surroundings {
  readonly etcd: Etcd;
  readonly line: Line;
  readonly metaPrefix: string;
  readonly logger: Logger;
  /** The token of the member's newest key, whether or not it still stands. */
  readonly ownToken: () => bigint | undefined;
}

/** How a term goes down. */
export interface SteppingDown {
  readonly cause: Cause;
  /** Milliseconds until everything of the term must have stopped. */
  readonly budgetMs: number;
  /** Aborts when the lease is lost meanwhile: from then on nothing keeps others from leading. */
  readonly lost: AbortSignal;
}

/**
 * What serves on a member's behalf, such as the guard of an HTTP server. It belongs to the work: the key is not deleted
 * before it has stopped, or its budget is spent. Neither of its promises may reject.
 */
export interface Companion {
  /** The term is over, and the role says so. Resolves when nothing of it is under way any more. */
  stepDown(how: SteppingDown): Promise<void>;
  /** The member is about to leave: what it answers from now on is the last on its connections. */
  leaving(): void;
  /** The member's key is gone. Resolves, within a second or so, when the surroundings are no longer needed. */
  left(): Promise<void>;
  /** What it has measured, to be told with the member's. */
  metrics(): readonly Metric[];
}
