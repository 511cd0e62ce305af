import type { Tip } from "./tip.ts";

/**
 * Items of a chart as one stop of the Tab key: arrows, Home and End move among them. What an item tells is shown for the
 * pointer and for the focus.
 */
export class Roving {
  readonly #items: () => readonly SVGElement[];
  readonly #tip: Tip;
  readonly #tell: (item: Element) => readonly string[];

  constructor(
    box: Element,
    tip: Tip,
    items: () => readonly SVGElement[],
    tell: (item: Element) => readonly string[],
  ) {
    this.#items = items;
    this.#tip = tip;
    this.#tell = tell;
    box.addEventListener("keydown", (event) => this.#pressed(event as KeyboardEvent));
    for (const [enters, leaves] of [
      ["focusin", "focusout"],
      ["pointerover", "pointerout"],
    ] as const) {
      box.addEventListener(enters, ({ target }) => this.#enter(target as Element));
      box.addEventListener(leaves, ({ target }) => this.#tip.hide(target as Element));
    }
  }

  /** After the items have changed: one of them, the newest unless another has the focus, is where Tab arrives. */
  settle(): void {
    const items = this.#items();
    const stop = items.find((item) => item === document.activeElement) ?? items.at(-1);
    for (const item of items) item.setAttribute("tabindex", item === stop ? "0" : "-1");
  }

  #enter(target: Element): void {
    if (this.#items().some((item) => item === target)) this.#tip.show(target, this.#tell(target));
  }

  #pressed(event: KeyboardEvent): void {
    if (event.key === "Escape") this.#tip.hide();
    const items = this.#items();
    const at = items.indexOf(document.activeElement as SVGElement);
    const goal = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: items.length - 1 }[event.key];
    if (at < 0 || goal === undefined) return;
    event.preventDefault();
    items[Math.max(0, Math.min(items.length - 1, goal))]?.focus();
    this.settle();
  }
}
