import { type Candidate, Line } from "../concurrency/line.ts";
import type { Etcd } from "../etcd/etcd.ts";
import type { Member } from "../member/member.ts";
import { onAbort, unlessAborted } from "../waiting.ts";

export interface NamesakeOptions {
  readonly etcd: Etcd;
  readonly election: string;
  readonly signal: AbortSignal;
  /** Called for each candidate of the same id that is waited for; may throw. */
  readonly onFound: (candidate: Candidate) => void;
}

/**
 * Joins behind all others of the same id, when the last of them has gone: two of one name would look like one to
 * everybody. Of several that come at the same moment exactly one stays, the one whose key was created first.
 */
export async function joinAlone(
  join: () => Promise<Member>,
  id: string,
  options: NamesakeOptions,
): Promise<Member> {
  for (;;) {
    await untilNobodyIsCalled(id, options);
    const member = await join();
    // The line of this moment holds all keys that are older than the own one and still stand.
    if (!hasOlderNamesake(member)) return member;
    await member.leave();
  }
}

function hasOlderNamesake({ id, line, ownToken }: Member): boolean {
  return ownToken !== undefined && line.some((each) => each.id === id && each.token < ownToken);
}

/** Waits until no candidate of the election has this id. Rejects with the signal's reason. */
async function untilNobodyIsCalled(id: string, options: NamesakeOptions): Promise<void> {
  const { etcd, election, signal, onFound } = options;
  const line = Line.acquire(etcd, election);
  try {
    await unlessAborted(line.sync(), signal);
    let told: bigint | undefined;
    for (;;) {
      const found = line.candidates.find((candidate) => candidate.id === id);
      if (found === undefined) return;
      if (found.token !== told) onFound(found);
      told = found.token;
      await changed(line, signal);
    }
  } finally {
    line.release();
  }
}

async function changed(line: Line, signal: AbortSignal): Promise<void> {
  let forget = (): void => {};
  await new Promise<void>((resolve) => {
    const unsubscribe = line.subscribe(resolve);
    const forgetAbort = onAbort(signal, resolve);
    forget = () => {
      unsubscribe();
      forgetAbort();
    };
  });
  forget();
  signal.throwIfAborted();
}
