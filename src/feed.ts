/** An item of a feed, and how many before it the reader was too slow for. */
export interface FeedItem<T> {
  readonly value: T;
  readonly skipped: number;
}

/**
 * Facts over time for one reader: every item in order while the reader keeps up; when `limit` items
 * wait, all but the newest are dropped and counted.
 */
export class Feed<T> implements AsyncIterable<FeedItem<T>> {
  readonly #limit: number;
  #items: T[] = [];
  #skipped = 0;
  #ended = false;
  #reason: unknown;
  #wake: () => void = () => {};

  constructor(limit: number = 1_024) {
    this.#limit = limit;
  }

  push(value: T): void {
    if (this.#ended) return;
    if (this.#items.length >= this.#limit) {
      this.#skipped += this.#items.length;
      this.#items = [];
    }
    this.#items.push(value);
    this.#wake();
  }

  /** Ends the feed after what waits; with a reason, at once and by throwing it. */
  end(reason?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#reason = reason;
    if (reason !== undefined) this.#items = [];
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<FeedItem<T>, void> {
    while (true) {
      if (this.#items.length > 0) {
        const value = this.#items.shift() as T;
        const skipped = this.#skipped;
        this.#skipped = 0;
        yield { value, skipped };
      } else if (this.#ended) {
        if (this.#reason !== undefined) throw this.#reason;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
