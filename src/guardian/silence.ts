/** A look that comes later than this was itself held up: the rest says nothing about the other side. */
const mostMs = 100;

/**
 * For how long the other side has given no sign of life, in time in which this side was awake: after a suspension of
 * both, of a stopped machine, the other one gets the chance to speak first.
 */
export class Silence {
  #ms = 0;
  #lookedAt: number;

  constructor(now: number) {
    this.#lookedAt = now;
  }

  get ms(): number {
    return this.#ms;
  }

  heard(): void {
    this.#ms = 0;
  }

  /** To be called again and again, much more often than the silence that is waited for. */
  look(now: number): void {
    this.#ms += Math.min(now - this.#lookedAt, mostMs);
    this.#lookedAt = now;
  }
}
