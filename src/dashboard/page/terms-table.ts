import { element } from "./element.ts";
import { printable } from "./printable.ts";
import { causeText, instantText } from "./term-text.ts";
import type { Term } from "./terms.ts";
import { duration } from "./times.ts";
import type { Words } from "./words.ts";

const mostRows = 100;

/** The same terms as text, the newest first: for who reads, copies or hears it. */
export class TermsTable {
  readonly node: HTMLDetailsElement;
  readonly #words: Words;
  readonly #language: string;
  readonly #body: HTMLElement = element("tbody");
  #terms: readonly Term[] = [];
  #shown = "";

  constructor(words: Words, language: string) {
    this.#words = words;
    this.#language = language;
    const { token, leader, zone, from, lasted, endedBy, gapBefore } = words;
    const titles = [token, leader, zone, from, lasted, endedBy, gapBefore];
    const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)));
    this.node = element(
      "details",
      { class: "card terms" },
      element("summary", {}, words.asTable),
      element("table", {}, element("thead", {}, head), this.#body),
    );
    this.node.addEventListener("toggle", () => this.#draw());
  }

  show(terms: readonly Term[]): void {
    this.#terms = terms;
    this.node.hidden = terms.length === 0;
    this.#draw();
  }

  #draw(): void {
    if (!this.node.open) return;
    const rows = this.#terms
      .slice(-mostRows)
      .reverse()
      .map((term) => this.#texts(term));
    const shown = JSON.stringify(rows);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#body.replaceChildren(...rows.map((texts) => this.#row(texts)));
  }

  #texts({ token, leader, zone, start, end, current, cause, gapMs }: Term): readonly string[] {
    const { units, stillLeads } = this.#words;
    return [
      `${token}`,
      printable(leader),
      printable(zone ?? ""),
      instantText(start, this.#language),
      // A figure that goes on changing would take a selection away.
      current ? "" : duration(end - start, units),
      current ? stillLeads : causeText(cause, this.#words),
      gapMs === undefined ? "" : duration(gapMs, units),
    ];
  }

  #row(texts: readonly string[]): HTMLElement {
    const { token, leader, zone, from, lasted, endedBy, gapBefore } = this.#words;
    const titles = [token, leader, zone, from, lasted, endedBy, gapBefore];
    return element(
      "tr",
      {},
      ...texts.map((text, at) => {
        const title = titles[at] ?? "";
        return element("td", { "data-title": title, class: title === from ? "from" : "" }, text);
      }),
    );
  }
}
