import { element, setText } from "./element.ts";
import type { State } from "./state.ts";
import { wholeSeconds } from "./times.ts";
import type { Words } from "./words.ts";

/** Whether what is shown is what is so. */
export class BannersView {
  readonly node: HTMLElement = element("div", { class: "banners" });
  // Told to who does not see it; the banner, whose text changes every second, is not.
  readonly badge: HTMLElement = element("span", { class: "badge", role: "status" });
  readonly #words: Words;
  readonly #stale: HTMLElement = element("p", { class: "banner stale", hidden: "" });
  readonly #empty: HTMLElement;
  #state: State | undefined;

  constructor(words: Words) {
    this.#words = words;
    this.#empty = element("p", { class: "banner", hidden: "" }, words.noElections);
    this.node.append(this.#stale, this.#empty);
  }

  show(state: State): void {
    this.#state = state;
    const { link, elections, etcdAway } = state;
    const { connecting, live, stale } = this.#words;
    const old = link === "lost" || etcdAway;
    this.badge.className = `badge ${old ? "old" : link}`;
    setText(this.badge, link === "connecting" ? connecting : old ? stale : live);
    document.documentElement.classList.toggle("old", old);
    this.#empty.hidden = elections === undefined || elections.length > 0 || state.chosen !== undefined;
    this.tick(performance.now());
  }

  tick(now: number): void {
    const { link, etcdAway, freshAt = 0 } = this.#state ?? {};
    this.#stale.hidden = link !== "lost" && etcdAway !== true;
    if (this.#stale.hidden) return;
    const ago = wholeSeconds(now - freshAt, this.#words.units);
    setText(this.#stale, link === "lost" ? this.#words.lost(ago) : this.#words.etcdAway(ago));
  }
}
