import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { Gate } from "../devserver/gate.ts";
import type { Duplex, Requests, Unary } from "../devserver/grpc-service.ts";
import { StatusError } from "../devserver/status-error.ts";
import { grpc } from "../etcd/failure.ts";
import type { Call, Metadata, RpcStatus, Stream, StreamListener, Transport } from "../etcd/transport.ts";

export interface MemoryTransportOptions {
  /** The endpoint, for messages. */
  readonly name: string;
  readonly gate: Gate;
  /** Whether somebody listens at the other end. */
  readonly isUp: () => boolean;
  /** What answers a method. */
  readonly handler: (method: DescMethod) => unknown;
  readonly onClose: () => void;
}

/** A connection to services in this process. Everything happens in microtasks, or when the gate lets it through. */
export class MemoryTransport implements Transport {
  readonly #options: MemoryTransportOptions;
  /** What ends each call under way. */
  readonly #underWay: Set<(status: RpcStatus) => void> = new Set();
  #connected = false;

  constructor(options: MemoryTransportOptions) {
    this.#options = options;
  }

  get connected(): boolean {
    return this.#connected;
  }

  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
  ): Call<MessageShape<O>> {
    const request = create(method.input, init);
    const { toServer, toClient } = this.#options.gate.open(method.name);
    const gone = new AbortController();
    let settle = (_task: () => void): void => {};
    let fail = (_status: RpcStatus): void => {};
    const response = new Promise<MessageShape<O>>((resolve, reject) => {
      settle = (task) => {
        if (!this.#underWay.delete(fail)) return;
        gone.abort();
        task();
      };
      fail = (status) => settle(() => reject(status));
      this.#underWay.add(fail);
      const answered = (task: () => void): void =>
        toClient(() => {
          this.#connected ||= this.#underWay.has(fail);
          settle(task);
        });
      this.#dial(fail, () =>
        toServer(() => {
          if (gone.signal.aborted) return;
          answer(this.#options.handler(method) as Unary<typeof method>, request, gone.signal).then(
            (message) => answered(() => resolve(message as MessageShape<O>)),
            (error: unknown) => answered(() => reject(statusOf(error))),
          );
        }),
      );
    });
    // A call that is given up before anybody waits for it has nobody to tell.
    response.catch(() => {});
    return { response, cancel: () => fail({ code: grpc.cancelled, message: "cancelled" }) };
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    metadata: Metadata,
    listener: StreamListener<MessageShape<O>>,
  ): Stream<MessageInitShape<I>> {
    const ways = this.#options.gate.open(method.name);
    const { toServer } = ways;
    // Never in the turn of the store, which may be in the middle of telling others.
    const toClient = (task: () => void): void => ways.toClient(() => queueMicrotask(task));
    let requests: Requests<MessageShape<I>> | undefined;
    const finish = (): boolean => {
      if (!this.#underWay.delete(end)) return false;
      requests?.gone();
      return true;
    };
    // Never in the turn of whoever broke it: a connection tells its streams one by one.
    const end = (status: RpcStatus): void => {
      if (finish()) queueMicrotask(() => listener.end(status));
    };
    const attempt = (task: () => void): void => {
      try {
        task();
      } catch (error) {
        toClient(() => end(statusOf(error)));
      }
    };
    const answers = {
      send: (message: MessageShape<O>): void =>
        toClient(() => {
          if (!this.#underWay.has(end)) return;
          this.#connected = true;
          listener.message(message);
        }),
      end: (error?: unknown): void => toClient(() => end(statusOf(error))),
    };
    this.#underWay.add(end);
    this.#dial(end, () =>
      attempt(() => {
        requests = (this.#options.handler(method) as Duplex<typeof method>)(answers, metadata);
      }),
    );
    return {
      send: (init) => {
        const message = create(method.input, init);
        queueMicrotask(() =>
          toServer(() => {
            if (this.#underWay.has(end)) attempt(() => requests?.receive(message));
          }),
        );
      },
      cancel: () => void finish(),
    };
  }

  /** Ends every call under way. */
  break(message: string): void {
    this.#connected = false;
    for (const fail of [...this.#underWay]) fail({ code: grpc.unavailable, message });
  }

  reconnect(): void {
    this.break("connection dropped");
  }

  close(): void {
    this.#options.onClose();
    this.break("closed");
  }

  #dial(fail: (status: RpcStatus) => void, task: () => void): void {
    const { isUp, name } = this.#options;
    queueMicrotask(() => {
      if (!this.#underWay.has(fail)) return;
      if (isUp()) task();
      else fail({ code: grpc.unavailable, message: `connect ECONNREFUSED ${name}` });
    });
  }
}

/** `async`, so that a handler that throws rejects as well. */
async function answer(handler: Unary<DescMethod>, request: unknown, gone: AbortSignal): Promise<unknown> {
  return handler(request as never, gone);
}

function statusOf(error: unknown): RpcStatus {
  if (error instanceof StatusError) return { code: error.code, message: error.message };
  return error === undefined
    ? { code: grpc.unavailable, message: "the server ended the stream" }
    : { code: grpc.unknown, message: String(error) };
}
