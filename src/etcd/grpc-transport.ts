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
import { Client, type ClientOptions, connectivityState, Metadata as GrpcMetadata } from "@grpc/grpc-js";
import type { Clock } from "../clock.ts";
import type { Endpoint } from "./endpoint.ts";
import { type Secure, Sockets } from "./sockets.ts";
import type { Call, Metadata, RpcStatus, Stream, StreamListener, Transport } from "./transport.ts";

const unavailable = 14;

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

  constructor(endpoint: Endpoint, options: GrpcTransportOptions) {
    this.#sockets = new Sockets(options.clock, options.connectTimeoutMs);
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
    let cancel = (): void => {};
    const response = new Promise<MessageShape<O>>((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        path(method),
        encoder(method.input),
        decoder(method.output),
        request,
        headers(metadata),
        (error, message) => {
          if (error !== null) reject(status(error));
          else if (message === undefined)
            reject({ code: unavailable, message: "no answer" } satisfies RpcStatus);
          else resolve(message);
        },
      );
      cancel = () => call.cancel();
    });
    return { response, cancel: () => cancel() };
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    metadata: Metadata,
    listener: StreamListener<MessageShape<O>>,
  ): Stream<MessageInitShape<I>> {
    const call = this.#client.makeBidiStreamRequest(
      path(method),
      encoder(method.input),
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
    call.on("error", (error: Error) => end(status(error)));
    call.on("end", () => end({ code: unavailable, message: "the server ended the stream" }));
    return {
      send: (message) => {
        if (!over) call.write(message);
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

function encoder<T extends DescMessage>(schema: T): (message: MessageInitShape<T>) => Buffer {
  return (message) => {
    const bytes = toBinary(schema, create(schema, message));
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  };
}

function decoder<T extends DescMessage>(schema: T): (bytes: Buffer) => MessageShape<T> {
  return (bytes) => fromBinary(schema, bytes);
}

function headers(metadata: Metadata): GrpcMetadata {
  const result = new GrpcMetadata();
  for (const [name, value] of Object.entries(metadata)) result.set(name, value);
  return result;
}

/** The status of an error of grpc-js, with the reason for a lost connection on its own. */
function status(error: Error & { code?: unknown; details?: unknown }): RpcStatus {
  const details = typeof error.details === "string" && error.details !== "" ? error.details : error.message;
  const reason = /Last error: (?:Error: )?(.*?)\.?(?: \(\d{4}-\d\d-\d\dT| Resolution note|$)/.exec(
    details,
  )?.[1];
  return { code: typeof error.code === "number" ? error.code : unavailable, message: reason ?? details };
}
