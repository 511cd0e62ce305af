import { element, setText, shape } from "./element.ts";
import { printable } from "./printable.ts";
import { Roving } from "./roving.ts";
import { causeText, instantText } from "./term-text.ts";
import { isPlanned, type Term } from "./terms.ts";
import { duration } from "./times.ts";
import { Tip } from "./tip.ts";
import type { Words } from "./words.ts";

const mostBars = 40;
const height = 120;
const axisWidth = 52;
const leastBarHeight = 2;
/** From a handover of some milliseconds to a failover of a minute: only a logarithmic scale shows both. */
const bottomMs = 1;
const leastTopMs = 1_000;

/** How long nobody led, change by change. */
export class FailoversView {
  readonly node: HTMLElement;
  readonly #words: Words;
  readonly #language: string;
  readonly #box: HTMLElement;
  readonly #svg: SVGSVGElement;
  readonly #scale: SVGGElement = shape("g");
  readonly #bars: SVGGElement = shape("g");
  readonly #summary: HTMLElement = element("p");
  readonly #legend: HTMLElement;
  readonly #note: HTMLElement;
  readonly #roving: Roving;
  readonly #drawn: Map<SVGElement, Term> = new Map();
  #changes: readonly Term[] = [];

  constructor(words: Words, language: string) {
    this.#words = words;
    this.#language = language;
    const tip = new Tip();
    this.#svg = shape("svg", { role: "group", "aria-label": words.failovers }, this.#scale, this.#bars);
    this.#box = element("div", { class: "chart" }, this.#svg, tip.node);
    this.#legend = element(
      "p",
      { class: "legend quiet" },
      element("span", { class: "planned" }, words.planned),
      element("span", { class: "unplanned" }, words.unplanned),
    );
    this.#note = element("p", { class: "quiet note" }, words.failoverNote);
    const title = element("h2", { id: "failovers-title" }, words.failovers);
    this.node = element(
      "section",
      { class: "card failovers", "aria-labelledby": title.id },
      element("header", {}, title, this.#legend),
      this.#summary,
      this.#box,
      this.#note,
    );
    this.#roving = new Roving(
      this.#bars,
      tip,
      () => [...this.#drawn.keys()],
      (item) => this.#tell(this.#drawn.get(item as SVGElement)),
    );
    new ResizeObserver(() => this.#draw()).observe(this.#box);
  }

  show(terms: readonly Term[]): void {
    const changes = terms.filter(({ gapMs }) => gapMs !== undefined).slice(-mostBars);
    const same = JSON.stringify(changes.map(factsOf)) === JSON.stringify(this.#changes.map(factsOf));
    this.#changes = changes;
    const none = changes.length === 0;
    this.#box.hidden = none;
    this.#legend.hidden = none;
    this.#note.hidden = none;
    const gaps = changes.map(({ gapMs = 0 }) => gapMs).sort((a, b) => a - b);
    const [median = 0, longest = 0] = [gaps[Math.ceil(gaps.length / 2) - 1], gaps.at(-1)];
    const { units, noFailovers, failoverSummary } = this.#words;
    const text = failoverSummary(gaps.length, duration(median, units), duration(longest, units));
    setText(this.#summary, none ? noFailovers : text);
    if (!same) this.#draw();
  }

  #draw(): void {
    const width = this.#box.clientWidth;
    if (width === 0 || this.#changes.length === 0) return;
    const topMs = Math.max(leastTopMs, ...this.#changes.map(({ gapMs = 0 }) => gapMs));
    const decades = Math.ceil(Math.log10(topMs / bottomMs));
    const y = (ms: number): number =>
      height - (Math.log10(Math.max(bottomMs, ms) / bottomMs) / decades) * (height - 12) - 4;
    this.#svg.setAttribute("width", `${width}`);
    this.#svg.setAttribute("height", `${height}`);
    const marks = Array.from({ length: decades + 1 }, (_, power) => bottomMs * 10 ** power);
    this.#scale.replaceChildren(
      ...marks.flatMap((ms) => [
        shape("line", { class: "grid", x1: axisWidth, x2: width, y1: y(ms), y2: y(ms) }),
        shape(
          "text",
          { class: "mark", x: axisWidth - 6, y: y(ms) + 4, "text-anchor": "end" },
          this.#markText(ms),
        ),
      ]),
    );
    const step = Math.min(28, (width - axisWidth) / this.#changes.length);
    const focused = this.#drawn.get(document.activeElement as SVGElement)?.token;
    this.#drawn.clear();
    for (const [at, change] of this.#changes.entries()) {
      const top = Math.min(y(change.gapMs ?? 0), height - 4 - leastBarHeight);
      const bar = shape("rect", {
        class: isPlanned(change) ? "change planned" : "change unplanned",
        ...{ x: axisWidth + at * step + step * 0.15, y: top, width: step * 0.7, height: height - 4 - top },
        ...{ rx: 2, role: "img", "aria-label": this.#tell(change).join(", ") },
      });
      this.#drawn.set(bar, change);
    }
    this.#bars.replaceChildren(...this.#drawn.keys());
    for (const [bar, { token }] of this.#drawn) if (token === focused) bar.focus();
    this.#roving.settle();
  }

  #markText(ms: number): string {
    const { units } = this.#words;
    return ms < 1_000 ? `${ms} ${units.ms}` : `${ms / 1_000} ${units.s}`;
  }

  #tell(change: Term | undefined): readonly string[] {
    if (change === undefined) return [];
    const { words, language } = { words: this.#words, language: this.#language };
    const { gapMs = 0, leader, token, start, causeBefore } = change;
    return [
      words.nobodyFor(duration(gapMs, words.units)),
      `${printable(leader)} · ${words.token} ${token}`,
      instantText(start, language),
      `${words.endedBy}: ${causeText(causeBefore, words)}`,
    ];
  }
}

function factsOf({ token, gapMs, causeBefore }: Term): readonly unknown[] {
  return [token, gapMs, causeBefore];
}
