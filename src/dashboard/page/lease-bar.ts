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
  /** The most that was ever left: the TTL, as nearly as it shows. */
  #fullMs = 1;
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

  /** `remainingMs` were left at `at`, in milliseconds of `performance.now()`. */
  set(remainingMs: number | undefined, at: number): void {
    this.#endsAt = remainingMs === undefined ? undefined : at + remainingMs;
    if (remainingMs !== undefined) this.#fullMs = Math.max(this.#fullMs, remainingMs);
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
    const share = Math.min(1, left / this.#fullMs);
    this.#fill.style.transform = `scaleX(${share.toFixed(3)})`;
    this.#fill.classList.toggle("low", share < lowShare);
    // Whole seconds: a text that changes ten times a second cannot be read.
    setText(this.#text, leaseLeft(wholeSeconds(left, units)));
  }
}
