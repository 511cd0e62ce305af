import type {
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
  MessageShape,
} from "@bufbuild/protobuf";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type {
  handleUnaryCall,
  MethodDefinition,
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { grpc } from "../etcd/failure.ts";
import { StatusError } from "./status-error.ts";

/** Answers unary calls; `signal` aborts when the client has gone. */
type Unary<M extends DescMethod> = (
  request: MessageShape<M["input"]>,
  signal: AbortSignal,
) => MessageShape<M["output"]> | Promise<MessageShape<M["output"]>>;

type Streaming<M extends DescMethod> = M["methodKind"] extends "server_streaming"
  ? (call: ServerWritableStream<MessageShape<M["input"]>, MessageShape<M["output"]>>) => void
  : (call: ServerDuplexStream<MessageShape<M["input"]>, MessageShape<M["output"]>>) => void;

/** What answers a service: a function for each of its methods. */
export type ServiceHandlers<S extends DescService> = {
  readonly [Name in keyof S["method"]]: S["method"][Name] extends DescMethodUnary
    ? Unary<S["method"][Name]>
    : S["method"][Name] extends DescMethodStreaming
      ? Streaming<S["method"][Name]>
      : never;
};

/** Makes `server` answer `service`. */
export function addService<S extends DescService>(
  server: Server,
  service: S,
  handlers: ServiceHandlers<S>,
): void {
  const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const method of service.methods) {
    const handler = handlers[method.localName as keyof typeof handlers];
    definition[method.name] = methodDefinition(service, method);
    const untyped = method.methodKind === "unary" ? unary(handler as Unary<DescMethod>) : handler;
    implementation[method.name] = untyped as UntypedHandleCall;
  }
  server.addService(definition, implementation);
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

function unary(handler: Unary<DescMethod>): handleUnaryCall<never, unknown> {
  return (call, callback) => {
    const gone = new AbortController();
    call.once("cancelled", () => gone.abort());
    answer(handler, call, gone.signal).then(
      (response) => callback(null, response),
      (error: unknown) => callback(grpcStatus(error)),
    );
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

/** The status of an error in the form that grpc-js takes. */
export function grpcStatus(error: unknown): { readonly code: number; readonly details: string } {
  if (error instanceof StatusError) return { code: error.code, details: error.message };
  return { code: grpc.unknown, details: String(error) };
}
