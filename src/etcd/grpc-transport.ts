import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  Client,
  type ClientOptions,
  type ClientUnaryCall,
  connectivityState,
  Metadata as GrpcMetadata,
} from "@grpc/grpc-js";
import type { Clock } from "../clock.ts";
import { SuccessionError } from "../errors.ts";
import { connectionReason } from "./connection-reason.ts";
import type { Endpoint } from "./endpoint.ts";
import { grpc } from "./failure.ts";
import { type Secure, Sockets } from "./sockets.ts";
import type { Call, Metadata, RpcStatus, Stream, StreamListener, Transport } from "./transport.ts";

const { unavailable } = grpc;

/** What is set and why stands in ARCHITECTURE.md, section "The connection". */
const channelOptions: ClientOptions = {
  "grpc.use_local_subchannel_pool": 1,
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 250,
  "grpc.keepalive_time_ms": 5_500,
  "grpc.keepalive_timeout_ms": 1_000,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.dns_min_time_between_resolutions_ms": 1_000,
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc.enable_channelz": 0,
};

export interface GrpcTransportOptions {
  readonly clock: Clock;
  /** How long opening a connection may take, TCP, TLS and HTTP/2 together. */
  readonly connectTimeoutMs: number;
  /** How TLS is opened, for an endpoint that wants it. */
  readonly secure: Secure | undefined;
}

/** A transport on one grpc-js channel. */
export class GrpcTransport implements Transport {
  readonly #client: Client;
  readonly #sockets: Sockets;
  readonly #secure: boolean;

  constructor(endpoint: Endpoint, options: GrpcTransportOptions) {
    this.#secure = options.secure !== undefined;
    this.#sockets = new Sockets(options.clock, options.connectTimeoutMs, () => this.connected);
    this.#client = new Client(target(endpoint), this.#sockets.credentials(options.secure), channelOptions);
  }

  get connected(): boolean {
    return this.#client.getChannel().getConnectivityState(false) === connectivityState.READY;
  }

  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    metadata: Metadata,
  ): Call<MessageShape<O>> {
    const bytes = encode(method, request);
    const silent = this.#sockets.silence();
    let under: ClientUnaryCall | undefined;
    const response = new Promise<MessageShape<O>>((resolve, reject) => {
      under = this.#client.makeUnaryRequest(
        path(method),
        asIs,
        decoder(method.output),
        bytes,
        headers(metadata),
        (error, message) => {
          if (error !== null) reject(statusOf(error, this.#secure));
          else if (message === undefined)
            reject({ code: unavailable, message: "no answer" } satisfies RpcStatus);
          else resolve(message);
        },
      );
    });
    return {
      response,
      get unsent() {
        return silent();
      },
      cancel: () => under?.cancel(),
    };
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    metadata: Metadata,
    listener: StreamListener<MessageShape<O>>,
  ): Stream<MessageInitShape<I>> {
    const call = this.#client.makeBidiStreamRequest(
      path(method),
      asIs,
      decoder(method.output),
      headers(metadata),
    );
    let over = false;
    const end = (reason: RpcStatus): void => {
      if (over) return;
      over = true;
      call.cancel();
      listener.end(reason);
    };
    call.on("data", (message: MessageShape<O>) => {
      if (!over) listener.message(message);
    });
    call.on("error", (error: Error) => end(statusOf(error, this.#secure)));
    call.on("end", () => end({ code: unavailable, message: "the server ended the stream" }));
    return {
      send: (message) => {
        const bytes = encode(method, message);
        if (!over) call.write(bytes);
      },
      cancel: () => {
        over = true;
        call.cancel();
      },
    };
  }

  reconnect(): void {
    this.#sockets.destroy();
  }

  close(): void {
    this.#client.close();
    this.#sockets.close();
  }
}

function target({ host, port }: Endpoint): string {
  if (host.includes(":")) return `ipv6:[${host}]:${port}`;
  return /^\d+(\.\d+){3}$/.test(host) ? `ipv4:${host}:${port}` : `dns:${host}:${port}`;
}

function path(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** The bytes of a request, or `BAD_OPTION` naming the field that is not what etcd's format asks for. */
function encode<I extends DescMessage>(
  method: DescMethod & { input: I },
  message: MessageInitShape<I>,
): Buffer {
  try {
    const bytes = toBinary(method.input, create(method.input, message));
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (cause) {
    const message = `${method.name}: ${cause instanceof Error ? cause.message : cause}`;
    throw new SuccessionError("BAD_OPTION", message, { cause });
  }
}

const asIs = (bytes: Buffer): Buffer => bytes;

function decoder<T extends DescMessage>(schema: T): (bytes: Buffer) => MessageShape<T> {
  // A plain array, as the types say: Buffer's methods of the same names do other things.
  return (bytes) => fromBinary(schema, new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

function headers(metadata: Metadata): GrpcMetadata {
  const result = new GrpcMetadata();
  for (const [name, value] of Object.entries(metadata)) result.set(name, value);
  return result;
}

/** The status of an error of grpc-js, with the reason for a lost connection on its own. */
function statusOf(error: Error & { code?: unknown; details?: unknown }, secure: boolean): RpcStatus {
  const details = typeof error.details === "string" && error.details !== "" ? error.details : error.message;
  const code = typeof error.code === "number" ? error.code : unavailable;
  return { code, message: connectionReason(details, secure) ?? details };
}
