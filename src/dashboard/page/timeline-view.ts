import { element, shape } from "./element.ts";
import { printable } from "./printable.ts";
import { Roving } from "./roving.ts";
import { termLines } from "./term-text.ts";
import { isPlanned, lanesOf, marksOf, type RangeName, rangeOf, type Term } from "./terms.ts";
import { Tip } from "./tip.ts";
import type { Words } from "./words.ts";

const laneHeight = 34;
const barTop = 17;
const barHeight = 14;
const axisHeight = 22;
const mostLanes = 8;
const mostInLane = 40;
/** A gap of a second in a week must still be seen. */
const leastGapWidth = 3;
const leastTermWidth = 3;
const markWidth = 110;

/** The stretch of time that is drawn, and where an instant of it is. */
interface Scale {
  readonly from: number;
  readonly to: number;
  readonly width: number;
  x(at: number): number;
}

/** Who led when: a lane for each leader, and red where nobody led. */
export class TimelineView {
  readonly node: HTMLElement;
  readonly #words: Words;
  readonly #language: string;
  readonly #box: HTMLElement;
  readonly #svg: SVGSVGElement;
  readonly #axis: SVGGElement = shape("g");
  readonly #gaps: SVGGElement = shape("g");
  readonly #bars: SVGGElement = shape("g");
  readonly #names: SVGGElement = shape("g");
  readonly #empty: HTMLElement;
  readonly #range: HTMLSelectElement;
  readonly #roving: Roving;
  /** By token, in order. They are moved and not made anew: what is pointed at stays. */
  readonly #drawn: Map<number, { readonly bar: SVGRectElement; term: Term }> = new Map();
  #terms: readonly Term[] = [];
  #now = 0;

  constructor(words: Words, language: string) {
    this.#words = words;
    this.#language = language;
    const tip = new Tip();
    const layers = [this.#axis, this.#gaps, this.#bars, this.#names];
    this.#svg = shape("svg", { role: "group", "aria-label": words.timelineHelp }, ...layers);
    this.#box = element("div", { class: "chart" }, this.#svg, tip.node);
    this.#empty = element("p", { class: "quiet" }, words.noTerms);
    const options = Object.entries(words.ranges).map(([value, text]) => element("option", { value }, text));
    this.#range = element("select", { "aria-label": words.range }, ...options);
    this.#range.addEventListener("change", () => this.#draw());
    const title = element("h2", { id: "terms-title" }, words.terms);
    this.node = element(
      "section",
      { class: "card timeline", "aria-labelledby": title.id },
      element("header", {}, title, this.#range),
      this.#empty,
      this.#box,
    );
    this.#roving = new Roving(
      this.#bars,
      tip,
      () => [...this.#drawn.values()].map(({ bar }) => bar),
      (item) => this.#tell([...this.#drawn.values()].find(({ bar }) => bar === item)?.term),
    );
    new ResizeObserver(() => this.#draw()).observe(this.#box);
  }

  show(terms: readonly Term[], now: number): void {
    this.#terms = terms;
    this.#now = now;
    this.#empty.hidden = terms.length > 0;
    this.#box.hidden = terms.length === 0;
    this.#range.hidden = terms.length === 0;
    this.#draw();
  }

  #draw(): void {
    const width = this.#box.clientWidth;
    if (width === 0 || this.#terms.length === 0) return;
    const { from, to } = rangeOf(this.#range.value as RangeName, this.#terms, this.#now);
    const x = (at: number): number => ((Math.max(from, Math.min(to, at)) - from) / (to - from)) * width;
    const scale = { from, to, width, x };
    const shown = this.#terms.filter(({ start, end, gapMs = 0 }) => end >= from && start - gapMs <= to);
    const lanes = lanesOf(shown, mostLanes);
    const others = shown.some(({ leader }) => !lanes.includes(leader)) ? [this.#words.others] : [];
    const names = [...lanes.map((leader) => printable(leader, mostInLane)), ...others];
    const height = names.length * laneHeight;
    this.#svg.setAttribute("width", `${width}`);
    this.#svg.setAttribute("height", `${height + axisHeight}`);
    this.#names.replaceChildren(
      ...names.map((name, lane) => shape("text", { class: "lane", x: 0, y: lane * laneHeight + 12 }, name)),
    );
    this.#drawAxis(scale, height);
    this.#drawGaps(scale, height, shown);
    this.#drawBars(scale, lanes, shown);
  }

  #drawBars({ x, width }: Scale, lanes: readonly string[], shown: readonly Term[]): void {
    const tokens = new Set(shown.map(({ token }) => token));
    for (const [token, { bar }] of this.#drawn) {
      if (tokens.has(token)) continue;
      bar.remove();
      this.#drawn.delete(token);
    }
    for (const term of shown) {
      const drawn = this.#drawn.get(term.token) ?? { bar: shape("rect", { role: "img" }), term };
      drawn.term = term;
      const { bar } = drawn;
      const lane = lanes.includes(term.leader) ? lanes.indexOf(term.leader) : lanes.length;
      const left = Math.min(x(term.start), width - leastTermWidth);
      const attributes = {
        class: `term colour-${lane % mostLanes}${term.current ? " current" : ""}`,
        ...{ x: left, y: lane * laneHeight + barTop, rx: 3, height: barHeight },
        width: Math.max(leastTermWidth, x(term.end) - left),
        "aria-label": this.#tell(term).join(", "),
      };
      for (const [name, value] of Object.entries(attributes)) bar.setAttribute(name, `${value}`);
      if (bar.parentNode === null) this.#bars.append(bar);
      this.#drawn.set(term.token, drawn);
    }
    this.#roving.settle();
  }

  #drawGaps({ from, x }: Scale, height: number, shown: readonly Term[]): void {
    const gaps = shown.filter(({ gapMs = 0, start }) => gapMs >= 1 && start > from);
    this.#gaps.replaceChildren(
      ...gaps.map((term) => {
        const { gapMs = 0, start } = term;
        const end = x(start);
        // One that is too short to be seen is widened to the left: the term after it must not hide it.
        const width = Math.max(leastGapWidth, end - x(start - gapMs));
        const look = isPlanned(term) ? "gap planned" : "gap";
        return shape("rect", { class: look, x: end - width, y: 0, width, height });
      }),
    );
  }

  #drawAxis({ from, to, width, x }: Scale, height: number): void {
    const offsetMs = new Date(from).getTimezoneOffset() * 60_000;
    const marks = marksOf(from, to, width / markWidth, offsetMs);
    const [first = from, second = to] = marks;
    const format = this.#markFormat(second - first);
    const drawn = marks.flatMap((at) => {
      const left = x(at);
      const anchor = left < markWidth / 3 ? "start" : left > width - markWidth / 3 ? "end" : "middle";
      const attributes = { class: "mark", x: left, y: height + 16, "text-anchor": anchor };
      return [
        shape("line", { class: "grid", x1: left, x2: left, y1: 0, y2: height + 4 }),
        shape("text", attributes, format.format(at)),
      ];
    });
    this.#axis.replaceChildren(...drawn);
  }

  /** Marks tell what differs between them. */
  #markFormat(stepMs: number): Intl.DateTimeFormat {
    const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
    const day = { month: "short", day: "numeric" } as const;
    if (stepMs < 60_000) return new Intl.DateTimeFormat(this.#language, { ...time, second: "2-digit" });
    if (stepMs < 21_600_000) return new Intl.DateTimeFormat(this.#language, time);
    return new Intl.DateTimeFormat(this.#language, stepMs < 86_400_000 ? { ...day, ...time } : day);
  }

  #tell(term: Term | undefined): readonly string[] {
    return term === undefined ? [] : termLines(term, this.#words, this.#language);
  }
}
