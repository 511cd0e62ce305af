import { element, setText } from "./element.ts";
import { printable } from "./printable.ts";
import { isOld, type State } from "./state.ts";
import { wholeSeconds } from "./times.ts";
import type { Words } from "./words.ts";

/** A reason is a sentence or two. */
const mostOfProblem = 400;

/** Whether what is shown is what is so. */
export class BannersView {
  readonly node: HTMLElement = element("div", { class: "banners" });
  // Told to who does not see it; the banner, whose text changes every second, is not.
  readonly badge: HTMLElement = element("span", { class: "badge", role: "status" });
  readonly #words: Words;
  readonly #stale: HTMLElement = element("p", { class: "banner stale", hidden: "" });
  readonly #note: HTMLElement = element("p", { class: "banner", hidden: "" });
  #state: State | undefined;

  constructor(words: Words) {
    this.#words = words;
    this.node.append(this.#stale, this.#note);
  }

  show(state: State): void {
    this.#state = state;
    const { link } = state;
    const { connecting, live, stale } = this.#words;
    const old = isOld(state);
    this.badge.className = `badge ${old ? "old" : link}`;
    setText(this.badge, link === "connecting" ? connecting : old ? stale : live);
    document.documentElement.classList.toggle("old", old);
    const note = this.#noteOn(state);
    this.#note.hidden = note === "";
    setText(this.#note, note);
    this.tick(performance.now());
  }

  /** Why there is less to see than one would expect. */
  #noteOn({ elections, listProblem, chosen, overview }: State): string {
    const { noElections, notShown, cannotList, cannotRead, notAllRead } = this.#words;
    if (elections === undefined) return "";
    if (listProblem !== undefined) return cannotList(printable(listProblem, mostOfProblem));
    if (chosen === undefined) return elections.length === 0 ? noElections : "";
    const summary = elections.find(({ election }) => election === chosen);
    if (summary === undefined) return notShown;
    if (summary.problem !== undefined) return cannotRead(printable(summary.problem, mostOfProblem));
    return overview?.complete === false ? notAllRead : "";
  }

  tick(now: number): void {
    const { link, etcdAway, freshAt = 0 } = this.#state ?? {};
    this.#stale.hidden = link !== "lost" && etcdAway !== true;
    if (this.#stale.hidden) return;
    const ago = wholeSeconds(now - freshAt, this.#words.units);
    setText(this.#stale, link === "lost" ? this.#words.lost(ago) : this.#words.etcdAway(ago));
  }
}
