import type { Lease } from "../messages.ts";
import { element, setText } from "./element.ts";
import { wholeSeconds } from "./times.ts";
import type { Words } from "./words.ts";

/** Below this share of the lease nobody has renewed it for far too long. */
const lowShare = 0.34;

/** What is left of a lease, running down by itself between two reports of it. */
export class LeaseBar {
  readonly node: HTMLElement;
  readonly #fill: HTMLElement = element("span", { class: "fill" });
  readonly #text: HTMLElement = element("span", { class: "left" });
  readonly #words: Words;
  #wholeMs = 1;
  #endsAt: number | undefined;

  constructor(words: Words) {
    this.#words = words;
    this.node = element(
      "span",
      { class: "lease" },
      element("span", { class: "bar", "aria-hidden": "true" }, this.#fill),
      this.#text,
    );
  }

  /** It was so at `at`, in milliseconds of `performance.now()`. */
  set(lease: Lease | undefined, at: number): void {
    const [remainingMs = 0, ttlMs = 1] = lease ?? [];
    this.#endsAt = lease === undefined ? undefined : at + remainingMs;
    this.#wholeMs = Math.max(1, ttlMs);
    // As it was reported: a bar that only waits for the next report must not look alarming.
    this.#fill.classList.toggle("low", lease !== undefined && remainingMs / this.#wholeMs < lowShare);
    this.tick(performance.now());
  }

  tick(now: number): void {
    const { units, leaseLeft, leaseUnknown } = this.#words;
    if (this.#endsAt === undefined) {
      this.#fill.style.transform = "scaleX(0)";
      setText(this.#text, leaseUnknown);
      return;
    }
    const left = Math.max(0, this.#endsAt - now);
    this.#fill.style.transform = `scaleX(${Math.min(1, left / this.#wholeMs).toFixed(3)})`;
    // Whole seconds: a text that changes ten times a second cannot be read.
    setText(this.#text, leaseLeft(wholeSeconds(left, units)));
  }
}
