import type { Candidacy } from "../concurrency/candidacy.ts";
import type { Session } from "../concurrency/session.ts";
import { closedError } from "../errors.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { EtcdError, isLeaseGone } from "../etcd/failure.ts";
import type { Logger } from "../log.ts";
import { backoffMs, sleep } from "../waiting.ts";

/** How long one try may take: after `stop` nothing goes on for longer. */
const tryMs = 2_000;

/**
 * Keys and leases of earlier candidacies on their way back. While they stand nobody else can lead, and an outage of
 * etcd keeps them alive, so each is given back until etcd answers, however long that takes.
 */
export class Returns {
  readonly #etcd: Etcd;
  readonly #logger: Logger;
  readonly #underWay: Set<Promise<void>> = new Set();
  readonly #stopped = new AbortController();

  constructor(etcd: Etcd, logger: Logger) {
    this.#etcd = etcd;
    this.#logger = logger;
  }

  /** Gives back the key, then the lease: others lead from the deletion on, and the details go with the lease. */
  give(session: Session, candidacy?: Candidacy): Promise<void> {
    return this.#track(async () => {
      // Where requests get no answer while renewals pass, the key must end with its lease.
      session.stopRenewing();
      const gone = session.endCause === "lease-gone";
      const keyGone =
        gone ||
        candidacy === undefined ||
        (await this.#answered(() => candidacy.release({ timeoutMs: tryMs })));
      session.end("resigned");
      if (gone || !keyGone) return;
      await this.#answered(() => this.#etcd.leaseRevoke(session.leaseId, { timeoutMs: tryMs }));
    });
  }

  /** Gives back a session that may still come to be. */
  giveWhenOpen(opening: Promise<Session>): void {
    const given = this.#track(async () => {
      const session = await opening.catch(() => undefined);
      if (session !== undefined) await this.give(session);
    });
    // It never rejects.
    void given;
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /** No more tries; what has not been given back ends with its lease. */
  stop(): void {
    this.#stopped.abort(closedError("the member"));
  }

  #track(task: () => Promise<void>): Promise<void> {
    const done = task().finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
    return done;
  }

  /** Repeats a request until etcd has answered it; false if there will be no answer. Never rejects. */
  async #answered(request: () => Promise<unknown>): Promise<boolean> {
    const { clock, closedSignal } = this.#etcd;
    const stopped = this.#stopped.signal;
    // After `stop` one try is left, for work that stops late.
    for (let failures = 1; ; failures++) {
      try {
        await request();
        return true;
      } catch (error) {
        if (isLeaseGone(error)) return true;
        if (closedSignal.aborted || stopped.aborted) return false;
        if (!(error instanceof EtcdError) || error.code !== "ETCD_UNAVAILABLE") {
          this.#logger.warn({ error }, "etcd does not take a key or lease back; it will end by itself");
          return true;
        }
        this.#logger.debug({ error, failures }, "etcd has not yet taken a key or lease back");
      }
      await sleep(clock, backoffMs(clock, failures), stopped).catch(() => {});
      if (stopped.aborted) return false;
    }
  }
}
