import type {
  DescMethodBiDiStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import { KV } from "../../src/etcd/gen/etcd_pb.ts";
import type { RawClient, RawStream } from "./raw-client.ts";

/** A sequence of requests to try on two servers. */
export interface Case {
  readonly title: string;
  /** The release lines of etcd that answer so; all of them by default. */
  readonly only?: readonly string[];
  run(transcript: Transcript): Promise<void>;
}

/** Fields that hold revisions: they are written down relative to where the case began. */
const revisionFields = new Set(["revision", "createRevision", "modRevision", "compactRevision", "rev"]);

/** Carries out requests and writes down what came back, in a form in which two servers can be compared. */
export class Transcript {
  readonly lines: unknown[] = [];
  readonly client: RawClient;
  /** The revision at which the case began. */
  readonly base: bigint;

  private constructor(client: RawClient, base: bigint) {
    this.client = client;
    this.base = base;
  }

  static async begin(client: RawClient): Promise<Transcript> {
    const { header } = await client.unary(KV.method.range, { key: bytes("none") });
    return new Transcript(client, header?.revision ?? 0n);
  }

  /** Sends a request; the answer, or undefined if it was refused, which is written down as well. */
  async unary<M extends DescMethodUnary>(
    method: M,
    init: MessageInitShape<M["input"]>,
  ): Promise<MessageShape<M["output"]> | undefined> {
    try {
      const answer = await this.client.unary(method, init);
      this.note(answer);
      return answer;
    } catch (error) {
      this.note(refusal(error));
      return undefined;
    }
  }

  /** Reads the next answer of a stream. */
  async next<M extends DescMethodBiDiStreaming>(stream: RawStream<M>): Promise<MessageShape<M["output"]>> {
    const answer = await stream.answers.next();
    this.note(answer);
    return answer;
  }

  note(value: unknown): void {
    this.lines.push(plain(value, this.base));
  }
}

export function refusal(error: unknown): { readonly code: unknown; readonly details: unknown } {
  const { code, details } = error as { code?: unknown; details?: unknown };
  return { code, details };
}

export function bytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "latin1"));
}

/** A message as plain data: text for bytes, relative revisions, and no ids of servers. */
function plain(value: unknown, base: bigint, name = ""): unknown {
  if (typeof value === "bigint") {
    // An empty revision stays one; the numbers of a fresh store are the same everywhere.
    return revisionFields.has(name) && value !== 0n ? `+${value - base}` : String(value);
  }
  if (value instanceof Uint8Array) return Buffer.from(value).toString("latin1");
  if (Array.isArray(value)) return value.map((one) => plain(one, base));
  if (typeof value !== "object" || value === null) return value;
  const hidden = ["$typeName", "clusterId", "memberId", "raftTerm"];
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, field]) => !hidden.includes(key) && field !== undefined)
      .map(([key, field]) => [key, plain(field, base, key)]),
  );
}
