import { type Candidate, Line } from "../concurrency/line.ts";
import { SuccessionError } from "../errors.ts";
import type { CallOptions, Etcd } from "../etcd/etcd.ts";
import { EtcdError } from "../etcd/failure.ts";
import { Event_EventType } from "../etcd/gen/etcd_pb.ts";
import { LinkedSignal } from "../etcd/linked-signal.ts";
import { onAbort } from "../waiting.ts";
import { RefusedError } from "./refusal.ts";
import { type Answer, requestIn } from "./request.ts";

/** A request that has been made. */
export interface Asked {
  /** Who led then. */
  readonly leader: Candidate;
  /** The revision at which it was made. */
  readonly revision: bigint;
}

/** Waits for another leader, or for the refusal, which it throws. */
export async function outcome(
  etcd: Etcd,
  election: string,
  key: string,
  asked: Asked,
  signal: AbortSignal,
): Promise<{ readonly answer: Accepted | undefined; readonly successor: Candidate }> {
  const line = Line.acquire(etcd, election);
  const stop = new LinkedSignal(signal);
  try {
    const succeeded = successorOf(line, asked.leader.token, stop.signal);
    const answered = answerTo(etcd, key, asked.revision, stop.signal);
    // Whichever comes second may end by the stop alone.
    succeeded.catch(() => {});
    answered.catch(() => {});
    let answer = await Promise.race([answered, succeeded.then(() => undefined)]);
    if (answer === undefined) answer = (await answerNow(etcd, key, asked.revision, { signal })).answer;
    if (answer?.at === "refused") throw new RefusedError(answer);
    return { answer, successor: await succeeded };
  } finally {
    stop.abort(new SuccessionError("CLOSED", "the handover is over"));
    stop.release();
    line.release();
  }
}

type Accepted = Extract<Answer, { readonly at: "accepted" }>;

/** Resolves to whoever leads after that token. */
function successorOf(line: Line, token: bigint, signal: AbortSignal): Promise<Candidate> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const { leader, synced } = line;
      if (!synced || leader === undefined || leader.token <= token) return;
      unsubscribe();
      forget();
      resolve(leader);
    };
    const unsubscribe = line.subscribe(look);
    const forget = onAbort(signal, () => {
      unsubscribe();
      reject(signal.reason);
    });
    line.follow();
    look();
  });
}

/** Resolves to the leader's answer; to `undefined` if the request goes without one. */
async function answerTo(
  etcd: Etcd,
  key: string,
  revision: bigint,
  signal: AbortSignal,
): Promise<Answer | undefined> {
  for (let startRevision = revision + 1n; ; ) {
    try {
      for await (const { events } of etcd.watch({ key, startRevision }, { signal })) {
        for (const { type, kv } of events) {
          if (type === Event_EventType.DELETE || kv?.createRevision !== revision) return undefined;
          const { answer } = requestIn(kv);
          if (answer !== undefined) return answer;
        }
      }
    } catch (error) {
      if (!(error instanceof EtcdError) || error.code !== "COMPACTED") throw error;
      const now = await answerNow(etcd, key, revision, { signal });
      if (now.gone || now.answer !== undefined) return now.answer;
      startRevision = now.revision + 1n;
    }
  }
}

/** The answer by a linearizable read, and the read's revision. */
async function answerNow(
  etcd: Etcd,
  key: string,
  revision: bigint,
  options: CallOptions,
): Promise<{ readonly answer: Answer | undefined; readonly gone: boolean; readonly revision: bigint }> {
  const { kvs, header } = await etcd.range(key, options);
  const answer = kvs.map(requestIn).find((each) => each.revision === revision)?.answer;
  return { answer, gone: kvs.length === 0, revision: header?.revision ?? 0n };
}
