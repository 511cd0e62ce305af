import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { Etcd, type EtcdOptions } from "../../src/etcd/etcd.ts";
import type {
  Call,
  Metadata,
  RpcStatus,
  Stream,
  StreamListener,
  Transport,
} from "../../src/etcd/transport.ts";
import { ManualClock } from "../../src/testing/manual-clock.ts";

/** A request as an endpoint gets it. */
export interface Asked {
  readonly endpoint: string;
  readonly method: string;
  readonly request: Readonly<Record<string, unknown>>;
  readonly metadata: Metadata;
}

/** What an endpoint does with a request: a message's fields, a status, or nothing at all. */
export type Reply =
  | { readonly answer: object }
  | { readonly status: RpcStatus }
  | "silence"
  | "unsent silence";

/** A stream as its server sees it. */
export interface ServedStream {
  readonly endpoint: string;
  readonly metadata: Metadata;
  readonly sent: Readonly<Record<string, unknown>>[];
  readonly canceled: boolean;
  tell(message: object): void;
  end(status: RpcStatus): void;
}

/** Endpoints in memory whose every answer the test decides. */
export class FakeEtcd {
  readonly clock: ManualClock = new ManualClock();
  readonly asked: Asked[] = [];
  readonly streams: ServedStream[] = [];
  /** The endpoints whose connections the client dropped, in order. */
  readonly reconnected: string[] = [];
  readonly #reply: (asked: Asked) => Reply | Promise<Reply>;

  constructor(reply: (asked: Asked) => Reply | Promise<Reply> = () => "silence") {
    this.#reply = reply;
  }

  client(options: Partial<EtcdOptions> = {}): Etcd {
    return new Etcd({
      endpoints: ["a:1", "b:1", "c:1"],
      attemptTimeoutMs: 500,
      clock: this.clock,
      connect: ({ name }) => this.#transport(name),
      ...options,
    });
  }

  /** Which endpoints were asked, in order. */
  get endpoints(): string[] {
    return this.asked.map(({ endpoint }) => endpoint);
  }

  #transport(endpoint: string): Transport {
    const fake = this;
    return {
      connected: true,
      unary<I extends DescMessage, O extends DescMessage>(
        method: DescMethodUnary<I, O>,
        request: MessageInitShape<I>,
        metadata: Metadata,
      ): Call<MessageShape<O>> {
        const asked: Asked = { endpoint, method: method.name, request: { ...request }, metadata };
        fake.asked.push(asked);
        const reply = fake.#reply(asked);
        return {
          unsent: reply === "unsent silence",
          response: new Promise((resolve, reject) => {
            void Promise.resolve(reply).then((given) => {
              if (typeof given === "string") return;
              if ("status" in given) reject(given.status);
              else resolve(create(method.output, given.answer as MessageInitShape<O>));
            });
          }),
          cancel: () => {},
        };
      },
      stream<I extends DescMessage, O extends DescMessage>(
        method: DescMethodBiDiStreaming<I, O>,
        metadata: Metadata,
        listener: StreamListener<MessageShape<O>>,
      ): Stream<MessageInitShape<I>> {
        let canceled = false;
        const sent: Record<string, unknown>[] = [];
        fake.streams.push({
          endpoint,
          metadata,
          sent,
          get canceled() {
            return canceled;
          },
          tell: (message) => {
            if (!canceled) listener.message(create(method.output, message as MessageInitShape<O>));
          },
          end: (status) => {
            if (!canceled) listener.end(status);
          },
        });
        return {
          send: (message) => {
            sent.push({ ...(message as object) });
          },
          cancel: () => {
            canceled = true;
          },
        };
      },
      reconnect: () => void fake.reconnected.push(endpoint),
      close: () => {},
    };
  }
}

/** A header of etcd's answers. */
export const header = (revision: bigint, clusterId: bigint = 1n): object => ({
  header: { revision, clusterId },
});

/** What etcd says where it does not do what was asked. */
export const says = (message: string, code: number = 14): Reply => ({ status: { code, message } });
