import type { Candidate, Line } from "../concurrency/line.ts";
import type { Admission } from "../member/admission.ts";
import { onAbort } from "../waiting.ts";

/**
 * Lets a member stand when nobody else of its id does: two of one name would look like one to everybody. Of several that
 * come at the same moment exactly one stays, the one whose key was created first; so none waits for one that waits.
 */
export class Namesakes implements Admission {
  readonly #id: string;
  readonly #onFound: (candidate: Candidate) => void;
  /** Keys of this process's own, of which earlier ones may still stand: nobody waits for himself. */
  readonly #own: Set<string> = new Set();

  /** `onFound` is called for each candidate of the same id that is waited for. */
  constructor(id: string, onFound: (candidate: Candidate) => void) {
    this.#id = id;
    this.#onFound = onFound;
  }

  async open(line: Line, signal: AbortSignal): Promise<void> {
    for (let told: bigint | undefined; ; ) {
      const found = line.candidates.find((candidate) => this.#isNamesake(candidate));
      if (found === undefined) return;
      if (found.token !== told) this.#onFound(found);
      told = found.token;
      await changed(line, signal);
    }
  }

  admits({ key, earlier }: { readonly key: string; readonly earlier: readonly Candidate[] }): boolean {
    this.#own.add(key);
    return !earlier.some((candidate) => this.#isNamesake(candidate));
  }

  #isNamesake({ id, key }: Candidate): boolean {
    return id === this.#id && !this.#own.has(key);
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
