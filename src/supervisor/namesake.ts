import { type Candidate, Line } from "../concurrency/line.ts";
import type { Etcd } from "../etcd/etcd.ts";
import { onAbort, unlessAborted } from "../waiting.ts";

/**
 * Waits until no candidate of the election has this id: two of one name would look like one to everybody. `onFound` is
 * called for each that is waited for, and may throw. Rejects with the signal's reason.
 */
export async function untilNobodyIsCalled(
  id: string,
  of: {
    readonly etcd: Etcd;
    readonly election: string;
    readonly signal: AbortSignal;
    readonly onFound: (candidate: Candidate) => void;
  },
): Promise<void> {
  const { etcd, election, signal, onFound } = of;
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
