import { element, setText } from "./element.ts";
import { printable } from "./printable.ts";
import type { State } from "./state.ts";
import type { Words } from "./words.ts";

/** All elections in short, to choose one; not there while there is only one. */
export class ElectionsView {
  readonly node: HTMLElement;
  readonly #list: HTMLElement = element("ul");
  readonly #more: HTMLElement = element("p", { class: "quiet" });
  readonly #words: Words;
  readonly #items: Map<string, Item> = new Map();

  constructor(words: Words) {
    this.#words = words;
    const title = element("h2", {}, words.elections);
    this.node = element("nav", { "aria-label": words.elections, hidden: "" }, title, this.#list, this.#more);
  }

  show({ elections = [], more, chosen }: State): void {
    this.node.hidden = elections.length < 2 && elections.every(({ election }) => election === chosen);
    setText(this.#more, more > 0 ? this.#words.moreElections(more) : "");
    const names = new Set(elections.map(({ election }) => election));
    for (const [name, { node }] of this.#items) {
      if (names.has(name)) continue;
      node.remove();
      this.#items.delete(name);
    }
    for (const [at, summary] of elections.entries()) {
      const item = this.#items.get(summary.election) ?? new Item(summary.election);
      this.#items.set(summary.election, item);
      if (this.#list.children[at] !== item.node) {
        this.#list.insertBefore(item.node, this.#list.children[at] ?? null);
      }
      const { read, leader, candidates, paused } = summary;
      const words = this.#words;
      item.node.classList.toggle("leaderless", read && leader === null);
      setText(item.who, !read ? "…" : leader === null ? words.nobodyLeads : printable(leader));
      setText(item.count, read ? `${words.candidates(candidates)}${paused ? ` · ${words.paused}` : ""}` : "");
      if (summary.election === chosen) item.link.setAttribute("aria-current", "page");
      else item.link.removeAttribute("aria-current");
    }
  }
}

class Item {
  readonly who: HTMLElement = element("span", { class: "who" });
  readonly count: HTMLElement = element("span", { class: "quiet" });
  readonly link: HTMLAnchorElement;
  readonly node: HTMLElement;

  constructor(election: string) {
    const name = element("span", { class: "name" }, printable(election));
    this.link = element("a", {}, name, this.who, this.count);
    // The address bar says what is looked at: it can be kept and sent to others.
    this.link.href = `#${encodeURIComponent(election)}`;
    this.node = element("li", {}, this.link);
  }
}
