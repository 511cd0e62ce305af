import type { MessageInitShape } from "@bufbuild/protobuf";
import type { CancelTimer } from "../clock.ts";
import type { Etcd, OpenStream } from "../etcd/etcd.ts";
import { classify, grpc } from "../etcd/failure.ts";
import { Lease, type LeaseKeepAliveRequestSchema, type LeaseKeepAliveResponse } from "../etcd/gen/etcd_pb.ts";
import type { RpcStatus } from "../etcd/transport.ts";
import { backoffMs } from "../waiting.ts";
import { attemptTimeoutMs, renewalPeriodMs } from "./deadline.ts";

export interface RenewalListener {
  /** The lease was renewed by a request sent at `sentAt`, whose answer came `roundTripMs` later. */
  renewed(sentAt: number, ttlMs: number, roundTripMs: number): void;
  /** etcd says that the lease no longer exists. */
  gone(): void;
}

type Connection = OpenStream<MessageInitShape<typeof LeaseKeepAliveRequestSchema>>;

/** How long renewal is put off while it may not be done. */
const withheldMs = 50;

/**
 * Keeps a lease alive on a stream of its own, moving to the next endpoint when one is silent or in trouble. It knows
 * no deadline: that is the session's, which must end on time even if this loop hangs. It runs on the main thread or on
 * the renewal thread, where it renews only for an owner that lives.
 */
export class Renewal {
  readonly #etcd: Etcd;
  readonly #leaseId: bigint;
  readonly #listener: RenewalListener;
  readonly #mayRenew: () => boolean;
  #ttlMs: number;
  #connection: Connection | undefined;
  /** When each request still unanswered on this stream was sent, oldest first: answers come in order. */
  #sent: number[] = [];
  /** Whether this stream has answered: then its connection need not be opened any more. */
  #answered = false;
  #failures = 0;
  #cancelTimer: CancelTimer = () => {};
  #leave: () => void = () => {};
  #running = false;

  /** `mayRenew` is asked before each renewal; one that it refuses is put off. */
  constructor(
    etcd: Etcd,
    leaseId: bigint,
    ttlMs: number,
    listener: RenewalListener,
    mayRenew: () => boolean = () => true,
  ) {
    this.#etcd = etcd;
    this.#leaseId = leaseId;
    this.#ttlMs = ttlMs;
    this.#listener = listener;
    this.#mayRenew = mayRenew;
  }

  /** Starts renewing, one period after `grantedAt`. */
  start(grantedAt: number): void {
    this.#running = true;
    this.#wakeAt(grantedAt + this.#period());
  }

  stop(): void {
    this.#running = false;
    this.#cancelTimer();
    this.#disconnect();
  }

  #period(): number {
    return renewalPeriodMs(this.#ttlMs, this.#etcd.clock.random());
  }

  #wakeAt(instant: number): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#etcd.clock.at(instant, () => this.#renew());
  }

  #renew(): void {
    if (!this.#mayRenew()) {
      this.#wakeAt(this.#etcd.clock.now() + withheldMs);
      return;
    }
    this.#etcd.authorize({ attemptTimeoutMs: this.#attemptTimeoutMs() }).then(
      () => {
        if (this.#running) this.#send();
      },
      (error: unknown) => {
        if (!this.#running) return;
        this.#etcd.logger.warn({ error }, "cannot authenticate to renew a lease");
        this.#retry();
      },
    );
  }

  #attemptTimeoutMs(): number {
    return Math.min(this.#etcd.attemptTimeoutMs, attemptTimeoutMs(this.#ttlMs));
  }

  #send(): void {
    const connection = this.#connection ?? this.#connect();
    const now = this.#etcd.clock.now();
    const patience = this.#attemptTimeoutMs() * (this.#answered ? 1 : connection.openTimeoutFactor);
    this.#cancelTimer();
    this.#cancelTimer = this.#etcd.clock.at(now + patience, () => {
      connection.stalled();
      this.#broken(connection, {
        code: grpc.deadlineExceeded,
        message: `no answer within ${Math.round(patience)} ms`,
      });
    });
    this.#sent.push(now);
    connection.send({ ID: this.#leaseId });
  }

  #connect(): Connection {
    const connection: Connection = this.#etcd.openStream(Lease.method.leaseKeepAlive, {
      message: (response) => {
        if (connection === this.#connection) this.#onAnswer(connection, response);
      },
      end: (status) => this.#broken(connection, status),
    });
    this.#connection = connection;
    this.#leave = connection.onMove(() => {
      // Between two renewals nothing is lost by going elsewhere.
      if (this.#sent.length === 0) this.#disconnect();
    });
    return connection;
  }

  #disconnect(): void {
    this.#leave();
    this.#connection?.cancel();
    this.#connection = undefined;
    this.#sent = [];
    this.#answered = false;
  }

  #onAnswer(connection: Connection, response: LeaseKeepAliveResponse): void {
    const sentAt = this.#sent.shift();
    if (sentAt === undefined) return;
    const roundTripMs = this.#etcd.clock.now() - sentAt;
    if (response.TTL <= 0n) {
      this.stop();
      this.#listener.gone();
      return;
    }
    connection.succeeded();
    this.#answered = true;
    this.#failures = 0;
    this.#ttlMs = Number(response.TTL) * 1_000;
    this.#wakeAt(sentAt + this.#period());
    this.#listener.renewed(sentAt, this.#ttlMs, roundTripMs);
  }

  #broken(connection: Connection, status: RpcStatus): void {
    if (connection !== this.#connection) return;
    const idle = this.#sent.length === 0;
    this.#disconnect();
    connection.failed(status);
    const { remedy } = classify(status);
    if (remedy === "lease-gone") {
      this.stop();
      this.#listener.gone();
      return;
    }
    this.#etcd.logger.debug({ endpoint: connection.endpoint, status }, "keepalive stream broken");
    if (remedy === "authenticate") {
      this.#etcd.authorize().catch(() => {
        // The next attempt reports it.
      });
    }
    // A stream that ends between two renewals costs nothing: the next renewal opens another.
    if (!idle) this.#retry();
  }

  /** At once on the next endpoint; after every endpoint had its turn, with a growing pause. */
  #retry(): void {
    const round = Math.floor(++this.#failures / this.#etcd.endpoints.length);
    const pause = round === 0 ? 0 : backoffMs(this.#etcd.clock, round, 50, this.#ttlMs / 10);
    this.#wakeAt(this.#etcd.clock.now() + pause);
  }
}
