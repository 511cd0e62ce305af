import { ActionsView } from "./actions-view.ts";
import { BannersView } from "./banners-view.ts";
import { ElectionsView } from "./elections-view.ts";
import { button, element, setText } from "./element.ts";
import { FailoversView } from "./failovers-view.ts";
import { LeaderView } from "./leader-view.ts";
import { LineView } from "./line-view.ts";
import { printable } from "./printable.ts";
import { isOld, type State } from "./state.ts";
import type { Steering } from "./steering.ts";
import { termsOf } from "./terms.ts";
import { TermsTable } from "./terms-table.ts";
import { TimelineView } from "./timeline-view.ts";
import type { ServerClock } from "./times.ts";
import { type Language, wordsIn } from "./words.ts";

/** What was done is told for so long. */
const doneMs = 10_000;
/** Terms lengthen by the second. */
const timelineMs = 1_000;

/** The page in one language. It shows a state, and keeps bars and durations moving in between. */
export class App {
  readonly node: HTMLElement;
  readonly #clock: ServerClock;
  readonly #stale: string;
  readonly #banners: BannersView;
  readonly #elections: ElectionsView;
  readonly #title: HTMLElement = element("h1");
  readonly #actions: ActionsView;
  readonly #leader: LeaderView;
  readonly #line: LineView;
  readonly #timeline: TimelineView;
  readonly #failovers: FailoversView;
  readonly #table: TermsTable;
  readonly #done: HTMLElement = element("p", { class: "done", role: "status" });
  #doneTimer = 0;
  #state: State | undefined;
  #timelineAt = 0;

  constructor(language: Language, steering: Steering, clock: ServerClock, switchLanguage: () => void) {
    const words = wordsIn(language);
    this.#clock = clock;
    this.#stale = words.stale;
    this.#banners = new BannersView(words);
    this.#elections = new ElectionsView(words);
    this.#actions = new ActionsView({ words, steering, done: (text) => this.#tell(text) });
    this.#leader = new LeaderView(words, clock);
    this.#line = new LineView(words);
    this.#timeline = new TimelineView(words, language);
    this.#failovers = new FailoversView(words, language);
    this.#table = new TermsTable(words, language);
    const other = button(words.otherLanguage, switchLanguage, "language");
    other.lang = language === "en" ? "zh-CN" : "en";
    const head = element(
      "header",
      { class: "top" },
      element("span", { class: "brand" }, "Succession"),
      this.#banners.badge,
      other,
    );
    const main = element(
      "main",
      {},
      element("header", { class: "election" }, this.#title, this.#actions.node),
      this.#leader.node,
      this.#line.node,
      element("div", { class: "charts" }, this.#timeline.node, this.#failovers.node),
      this.#table.node,
    );
    const columns = element("div", { class: "columns" }, this.#elections.node, main);
    this.node = element("div", { class: "app" }, head, this.#banners.node, columns, this.#done);
  }

  show(state: State): void {
    const before = this.#state;
    this.#state = state;
    const { chosen } = state;
    this.#banners.show(state);
    this.#elections.show(state);
    setText(this.#title, printable(chosen ?? ""));
    document.title = this.#titleOf(state);
    this.node.classList.toggle("nothing", chosen === undefined);
    this.#actions.show(state);
    // What is not known any more does not go on.
    if (isOld(state) && state.overview === before?.overview) return;
    this.#leader.show(state);
    this.#line.show(state);
    this.#showTerms();
  }

  /** Some times a second, while somebody looks. */
  tick(now: number): void {
    if (this.#state === undefined) return;
    this.#banners.tick(now);
    if (isOld(this.#state)) return;
    this.#leader.tick(now);
    this.#line.tick(now);
    if (now - this.#timelineAt >= timelineMs) this.#showTerms();
  }

  #showTerms(): void {
    this.#timelineAt = performance.now();
    const { overview } = this.#state ?? {};
    const now = this.#clock.now();
    const terms = termsOf(overview?.history ?? [], overview?.leader?.token, now);
    this.#timeline.show(terms, now);
    this.#failovers.show(terms);
    this.#table.show(terms);
  }

  /** Who leads is seen in a tab behind, too. */
  #titleOf({ chosen, overview, link, etcdAway }: State): string {
    const parts = [
      ...(isOld({ link, etcdAway }) ? [this.#stale] : []),
      ...(overview?.leader == null ? [] : [printable(overview.leader.id)]),
      printable(chosen ?? "Succession"),
    ];
    return parts.join(" · ");
  }

  #tell(text: string): void {
    setText(this.#done, text);
    clearTimeout(this.#doneTimer);
    this.#doneTimer = setTimeout(() => setText(this.#done, ""), doneMs);
  }
}
