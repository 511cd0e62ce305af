import type { CancelTimer } from "../clock.ts";
import { toBytes } from "../etcd/bytes.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { KV } from "../etcd/gen/etcd_pb.ts";
import { attemptTimeoutMs, provenUntil } from "./deadline.ts";
import type { Proof, SharedFlag } from "./proof.ts";

/** From here on the main thread counts as blocked, and its key is looked at in its stead. */
const silentMs = 250;

/** Nor is its key left alone when its proof has come to its last half: whatever the reason, a read is due. */
const lowShare = 0.5;

export interface KeyWatchOptions {
  readonly etcd: Etcd;
  readonly name: string;
  readonly token: bigint;
  readonly leaseId: bigint;
  readonly proof: Proof;
  /** Whether a term rests on the proof. */
  readonly acting: SharedFlag;
  readonly ttlMs: () => number;
  /** Whether the key may be kept proven: its owner is not hung, and wants it. */
  readonly wanted: () => boolean;
  /** For how long the main thread has given no sign of life. */
  readonly silentMs: () => number;
  readonly onSeen: (sentAt: number) => void;
  readonly onMissing: () => void;
}

/**
 * Looks at a candidate's key while the main thread, which does so itself, is blocked: by the same kind of read, and
 * counted from its send as well. It can end a term, and never begins one.
 */
export class KeyWatch {
  readonly #options: KeyWatchOptions;
  #cancelTimer: CancelTimer = () => {};
  #stopped = false;

  constructor(options: KeyWatchOptions) {
    this.#options = options;
    this.#next();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelTimer();
  }

  #next(): void {
    if (this.#stopped) return;
    const { etcd, ttlMs } = this.#options;
    const pauseMs = Math.min(1_000, Math.max(200, ttlMs() / 10));
    this.#cancelTimer = etcd.clock.at(etcd.clock.now() + pauseMs, () => void this.#look());
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    const { etcd, proof, acting, ttlMs, wanted, onSeen, onMissing } = this.#options;
    const low = proof.until - etcd.clock.now() < lowShare * ttlMs();
    const due = this.#options.silentMs() > silentMs || low;
    if (wanted() && due) {
      try {
        const sentAt = await this.#read();
        if (this.#stopped) return;
        if (sentAt === undefined) {
          proof.lose("key-gone");
          onMissing();
          return;
        }
        const until = provenUntil(sentAt, ttlMs());
        if (acting.value) proof.renew(until, etcd.clock.now());
        else proof.prove(until);
        onSeen(sentAt);
      } catch (error) {
        if (this.#stopped) return;
        etcd.logger.debug({ error, key: this.#options.name }, "cannot look at a candidate's key yet");
      }
    }
    this.#next();
  }

  /** When the read was sent that found the key; undefined if the key is not there any more. */
  async #read(): Promise<number | undefined> {
    const { etcd, name, token, leaseId, ttlMs } = this.#options;
    const request = { key: toBytes(name), keysOnly: true };
    const attempt = Math.min(etcd.attemptTimeoutMs, attemptTimeoutMs(ttlMs()));
    const limits = { timeoutMs: ttlMs() / 3, attemptTimeoutMs: attempt, idempotent: true };
    const { response, sentAt } = await etcd.call(KV.method.range, request, limits);
    const kv = response.kvs[0];
    return kv?.createRevision === token && kv.lease === leaseId ? sentAt : undefined;
  }
}
