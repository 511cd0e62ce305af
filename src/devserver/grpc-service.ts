import type { Writable } from "node:stream";
import type {
  DescMethod,
  DescMethodBiDiStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  DescService,
  MessageShape,
} from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  MethodDefinition,
  Server,
  ServerUnaryCall,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { grpc } from "../etcd/failure.ts";
import { onAbort } from "../waiting.ts";
import type { Gate, Pass } from "./gate.ts";
import { refusals, StatusError } from "./status-error.ts";

/** Answers unary calls; `signal` aborts when the client has gone. */
export type Unary<M extends DescMethod> = (
  request: MessageShape<M["input"]>,
  signal: AbortSignal,
) => MessageShape<M["output"]> | Promise<MessageShape<M["output"]>>;

/** Where the answers of a stream go. */
export interface Answers<O> {
  send(answer: O): void;
  /** Ends the stream, with an error's status if there is one. Nothing follows. */
  end(error?: unknown): void;
}

/** What takes the requests of a stream; whatever it throws ends the stream. */
export interface Requests<I> {
  receive(request: I): void;
  /** The client sends no more, and may still listen. */
  finish?(): void;
  /** The stream is over, whoever ended it. */
  gone(): void;
}

/** Serves a stream of requests; the headers by their names in lower case. */
export type Duplex<M extends DescMethod> = (
  answers: Answers<MessageShape<M["output"]>>,
  headers: Readonly<Record<string, unknown>>,
) => Requests<MessageShape<M["input"]>>;

/** Serves one request by many answers; the result is called when the stream is over. */
type Subscription<M extends DescMethod> = (
  request: MessageShape<M["input"]>,
  answers: Answers<MessageShape<M["output"]>>,
) => () => void;

/** What answers a service, whatever carries the messages: a function for each of its methods. */
export type ServiceHandlers<S extends DescService> = {
  readonly [Name in keyof S["method"]]: S["method"][Name] extends DescMethodUnary
    ? Unary<S["method"][Name]>
    : S["method"][Name] extends DescMethodServerStreaming
      ? Subscription<S["method"][Name]>
      : S["method"][Name] extends DescMethodBiDiStreaming
        ? Duplex<S["method"][Name]>
        : never;
};

/** A service and what answers it. */
export interface Service {
  readonly desc: DescService;
  readonly handlers: Readonly<Record<string, unknown>>;
}

/** How calls are carried. */
export interface Carriage {
  /** What messages pass on their way. */
  readonly gate: Gate;
  /** Ends every call under way. */
  readonly closing: AbortSignal;
}

/** Makes `server` answer a service. */
export function addService(server: Server, { desc, handlers }: Service, carriage: Carriage): void {
  const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of desc.methods) {
    definition[method.name] = methodDefinition(desc, method);
    implementation[method.name] = carried(method, handlers[method.localName], carriage);
  }
  server.addService(definition, implementation);
}

function carried({ name, methodKind }: DescMethod, handler: unknown, carriage: Carriage): UntypedHandleCall {
  const by = { unary, bidi_streaming: duplex, server_streaming: subscription, client_streaming: duplex };
  return by[methodKind](name, handler as never, carriage) as UntypedHandleCall;
}

function methodDefinition(service: DescService, method: DescMethod): MethodDefinition<unknown, unknown> {
  const { input, output } = method;
  const kind = method.methodKind;
  return {
    path: `/${service.typeName}/${method.name}`,
    requestStream: kind === "bidi_streaming" || kind === "client_streaming",
    responseStream: kind === "bidi_streaming" || kind === "server_streaming",
    requestSerialize: (message) => Buffer.from(toBinary(input, message as MessageShape<typeof input>)),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(output, message as MessageShape<typeof output>)),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
  };
}

function unary(
  name: string,
  handler: Unary<DescMethod>,
  { gate, closing }: Carriage,
): handleUnaryCall<never, unknown> {
  return (call, callback) => {
    const { toServer, toClient } = gate.open(name);
    const gone = new AbortController();
    let forget = (): void => {};
    const settle = (task: () => void): void => {
      if (gone.signal.aborted) return;
      forget();
      gone.abort();
      task();
    };
    forget = onAbort(closing, () => settle(() => callback(grpcStatus(refusals.stopped()))));
    call.once("cancelled", () => settle(() => {}));
    toServer(() => {
      // What was held up on its way is not carried out for a client that has given up.
      if (gone.signal.aborted) return;
      answer(handler, call, gone.signal).then(
        (response) => toClient(() => settle(() => callback(null, response))),
        (error: unknown) => toClient(() => settle(() => callback(grpcStatus(error)))),
      );
    });
  };
}

/** `async`, so that a handler that throws rejects as well. */
async function answer(
  handler: Unary<DescMethod>,
  call: ServerUnaryCall<never, unknown>,
  signal: AbortSignal,
): Promise<unknown> {
  return handler(call.request, signal);
}

function duplex(
  name: string,
  handler: Duplex<DescMethod>,
  { gate, closing }: Carriage,
): handleBidiStreamingCall<never, unknown> {
  return (call) => {
    const { toServer, toClient } = gate.open(name);
    const stream = answersOf(call, toClient, closing);
    let requests: Requests<never>;
    try {
      requests = handler(stream.answers, call.metadata.getMap());
    } catch (error) {
      stream.answers.end(error);
      return;
    }
    stream.whenOver(() => requests.gone());
    call.on("data", (request: never) =>
      toServer(() => {
        if (stream.over) return;
        try {
          requests.receive(request);
        } catch (error) {
          stream.answers.end(error);
        }
      }),
    );
    call.on("end", () =>
      toServer(() => {
        if (!stream.over) requests.finish?.();
      }),
    );
  };
}

function subscription(
  name: string,
  handler: Subscription<DescMethod>,
  { gate, closing }: Carriage,
): handleServerStreamingCall<never, unknown> {
  return (call) => {
    const { toServer, toClient } = gate.open(name);
    const stream = answersOf(call, toClient, closing);
    toServer(() => {
      if (stream.over) return;
      try {
        stream.whenOver(handler(call.request, stream.answers));
      } catch (error) {
        stream.answers.end(error);
      }
    });
  };
}

/** The answers of a call that ends once: by the service, by the client, or because the server closes. */
function answersOf(
  call: Writable,
  toClient: Pass,
  closing: AbortSignal,
): { readonly answers: Answers<unknown>; readonly over: boolean; whenOver(task: () => void): void } {
  let over = false;
  let onOver = (): void => {};
  let forget = (): void => {};
  const finish = (task: () => void): void => {
    if (over) return;
    over = true;
    forget();
    onOver();
    task();
  };
  const fail = (error: unknown): void => void call.emit("error", grpcStatus(error));
  forget = onAbort(closing, () => finish(() => fail(refusals.stopped())));
  call.on("cancelled", () => finish(() => {}));
  call.on("close", () => finish(() => {}));
  return {
    answers: {
      send: (answer) =>
        toClient(() => {
          if (!over) call.write(answer);
        }),
      end: (error) => toClient(() => finish(() => (error === undefined ? call.end() : fail(error)))),
    },
    get over() {
      return over;
    },
    whenOver: (task) => {
      if (over) task();
      else onOver = task;
    },
  };
}

/** The status of an error in the form that grpc-js takes. */
function grpcStatus(error: unknown): { readonly code: number; readonly details: string } {
  if (error instanceof StatusError) return { code: error.code, details: error.message };
  return { code: grpc.unknown, details: String(error) };
}
