import { onAbort } from "../waiting.ts";

/**
 * A signal that aborts with the first of several, or when told to. `release` takes its listeners away:
 * `AbortSignal.any` keeps them for as long as the signals live (nodejs/node#54614).
 */
export class LinkedSignal {
  readonly #controller = new AbortController();
  readonly #forgets: readonly (() => void)[];

  constructor(...sources: readonly (AbortSignal | undefined)[]) {
    this.#forgets = sources.map((source) => onAbort(source, () => this.abort(source?.reason)));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }

  release(): void {
    for (const forget of this.#forgets) forget();
  }
}
