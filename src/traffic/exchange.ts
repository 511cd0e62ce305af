import type { IncomingMessage } from "node:http";
import type { Address } from "./address.ts";
import type { Admitted } from "./admissions.ts";
import type { GuardFailure } from "./guard-counters.ts";

/** An answer that the guard gives itself. */
export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** Where a request is passed on to, and how. */
export interface Onward {
  readonly address: Address;
  /** Whether the answer is the last one on the client's connection. */
  readonly last: boolean;
  /** Milliseconds for the answer to begin, and for which the leader may stand still where it is its turn. */
  readonly answerTimeoutMs: number;
  /** Aborts when another one leads: a request that can be repeated then is. */
  readonly superseded: AbortSignal;
  /** Called when the address has been reached. */
  readonly reached: () => void;
  /** Called when the answer has begun. */
  readonly answered: () => void;
  /** Called when it has failed, this time or for good. */
  readonly failed: (
    how: Extract<GuardFailure, "unreachable" | "broken" | "late" | "stalled">,
    error: Error,
  ) => void;
}

/** A request that wants to be served, or a connection that wants to be upgraded. */
export interface Exchange extends Admitted {
  readonly request: IncomingMessage;
  /** Whether the client has gone. */
  readonly gone: boolean;
  /** Calls `listener` when the exchange has ended, however; the result takes it away again. */
  onEnd(listener: () => void): () => void;
  refuse(refusal: Refusal): void;
  /**
   * Passes the request on. Resolves when the exchange has ended, or to the reason if nobody has seen the request, or it
   * may be repeated: then nothing has been answered. Never rejects.
   */
  forward(onward: Onward): Promise<Error | undefined>;
}
