import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { Endpoint } from "./endpoint.ts";

/** What the other side, or the way to it, said instead of an answer: a gRPC status. */
export interface RpcStatus {
  /** The number of the gRPC status. */
  readonly code: number;
  readonly message: string;
}

/** A request under way. `response` rejects with `RpcStatus`. */
export interface Call<O> {
  readonly response: Promise<O>;
  /**
   * True as long as no connection has taken the request: it cannot have had an effect. Left out by a transport that
   * cannot tell.
   */
  readonly unsent?: boolean;
  /** Gives the request up; `response` rejects if it had not settled. */
  cancel(): void;
}

/** What a stream tells: messages in order, then its end, once. After `cancel` it tells nothing. */
export interface StreamListener<O> {
  message(message: O): void;
  end(status: RpcStatus): void;
}

export interface Stream<I> {
  /** Throws `BAD_OPTION` if the message cannot be put into etcd's format; sends nothing once the stream has ended. */
  send(message: I): void;
  cancel(): void;
}

export type Metadata = Readonly<Record<string, string>>;

/**
 * One connection to one endpoint, opened when first used and again when lost. It knows
 * nothing of time limits for requests, retries or other endpoints. The simulator puts its own in its place.
 */
export interface Transport {
  /** Whether the connection stands, as far as this side knows. */
  readonly connected: boolean;
  /** Throws `BAD_OPTION` if the request cannot be put into etcd's format; all else is told by the call. */
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    metadata: Metadata,
  ): Call<MessageShape<O>>;
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    metadata: Metadata,
    listener: StreamListener<MessageShape<O>>,
  ): Stream<MessageInitShape<I>>;
  /** Drops the connection, standing or being opened, so that the next request opens another. */
  reconnect(): void;
  /** Ends every request and frees every socket. */
  close(): void;
}

export type Connect = (endpoint: Endpoint) => Transport;
