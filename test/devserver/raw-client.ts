import {
  create,
  type DescMethodBiDiStreaming,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";

const path = (method: { parent: { typeName: string }; name: string }): string =>
  `/${method.parent.typeName}/${method.name}`;

/** Plain gRPC to one server: what it answers is shown as it is. */
export class RawClient {
  readonly #client: Client;

  constructor(endpoint: string) {
    this.#client = new Client(endpoint, credentials.createInsecure(), {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.max_receive_message_length": -1,
    });
  }

  unary<M extends DescMethodUnary>(
    method: M,
    init: MessageInitShape<M["input"]>,
    signal?: AbortSignal,
  ): Promise<MessageShape<M["output"]>> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        path(method),
        (message: MessageShape<M["input"]>) => Buffer.from(toBinary(method.input, message)),
        (bytes: Buffer) => fromBinary(method.output, bytes) as MessageShape<M["output"]>,
        create(method.input, init) as MessageShape<M["input"]>,
        { deadline: Date.now() + 20_000 },
        (error: ServiceError | null, answer?: MessageShape<M["output"]>) =>
          error === null ? resolve(answer as MessageShape<M["output"]>) : reject(error),
      );
      signal?.addEventListener("abort", () => call.cancel(), { once: true });
    });
  }

  stream<M extends DescMethodBiDiStreaming>(
    method: M,
    headers: Readonly<Record<string, string>> = {},
  ): RawStream<M> {
    const metadata = new Metadata();
    for (const [header, value] of Object.entries(headers)) metadata.set(header, value);
    const call = this.#client.makeBidiStreamRequest(
      path(method),
      (message: MessageShape<M["input"]>) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => fromBinary(method.output, bytes) as MessageShape<M["output"]>,
      metadata,
    );
    const answers = new Answers<MessageShape<M["output"]>>(call);
    return {
      answers,
      send: (init) => call.write(create(method.input, init) as MessageShape<M["input"]>),
      end: () => call.end(),
      cancel: () => call.cancel(),
    };
  }

  /** Opens a stream of answers to one request. */
  subscribe<M extends DescMethodServerStreaming>(
    method: M,
    init: MessageInitShape<M["input"]>,
  ): Answers<MessageShape<M["output"]>> {
    const call = this.#client.makeServerStreamRequest(
      path(method),
      (message: MessageShape<M["input"]>) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => fromBinary(method.output, bytes) as MessageShape<M["output"]>,
      create(method.input, init) as MessageShape<M["input"]>,
    );
    return new Answers(call);
  }

  close(): void {
    this.#client.close();
  }
}

export interface RawStream<M extends DescMethodBiDiStreaming> {
  readonly answers: Answers<MessageShape<M["output"]>>;
  send(init: MessageInitShape<M["input"]>): void;
  end(): void;
  cancel(): void;
}

/** The answers of a stream, one by one. */
export class Answers<T> {
  readonly #ready: Promise<T>[] = [];
  readonly #waiting: PromiseWithResolvers[] = [];
  readonly #cancel: () => void;

  constructor(call: NodeJS.EventEmitter & { cancel(): void }) {
    this.#cancel = () => call.cancel();
    call.on("data", (answer: T) => this.#settle(() => Promise.resolve(answer)));
    call.on("error", (error: Error) => this.#settle(() => Promise.reject(error)));
    call.on("end", () => this.#settle(() => Promise.reject(new Error("the stream has ended"))));
  }

  /** The next answer; rejects with the status that ended the stream. */
  next(): Promise<T> {
    const ready = this.#ready.shift();
    if (ready !== undefined) return ready;
    return new Promise<unknown>((resolve) => this.#waiting.push({ resolve })) as Promise<T>;
  }

  cancel(): void {
    this.#cancel();
  }

  #settle(result: () => Promise<T>): void {
    const promise = result();
    // Nobody may be waiting yet.
    promise.catch(() => {});
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#ready.push(promise);
    else waiting.resolve(promise);
  }
}

interface PromiseWithResolvers {
  readonly resolve: (value: unknown) => void;
}
