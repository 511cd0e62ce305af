import type { Candidate } from "../messages.ts";
import { button, element, setText } from "./element.ts";
import { LineRow } from "./line-row.ts";
import { printable } from "./printable.ts";
import type { State } from "./state.ts";
import type { Words } from "./words.ts";

/** So many are shown at once; hundreds only when asked for. */
const firstShown = 12;

/** Fields that many members do not tell: their columns are there when anybody does. */
const optionalFields = ["zone", "priority", "healthy", "address", "version"] as const;

/** The line of succession, the leader first. */
export class LineView {
  readonly node: HTMLElement;
  readonly #words: Words;
  readonly #table: HTMLTableElement;
  readonly #body: HTMLElement = element("tbody");
  readonly #count: HTMLElement = element("span", { class: "quiet" });
  readonly #empty: HTMLElement;
  readonly #filter: HTMLInputElement;
  readonly #toggle: HTMLButtonElement;
  readonly #witnesses: HTMLElement = element("p", { class: "quiet witnesses", hidden: "" });
  readonly #rows: Map<string, LineRow> = new Map();
  #state: State | undefined;
  #all = false;

  constructor(words: Words) {
    this.#words = words;
    const head: readonly (readonly [field: string, text: string])[] = [
      ["", words.position],
      ["", words.id],
      ["zone", words.zone],
      ["priority", words.priority],
      ["healthy", words.health],
      ["address", words.address],
      ["version", words.version],
      ["", words.token],
      ["", words.lease],
    ];
    const cells = head.map(([field, text]) =>
      element("th", { scope: "col", ...(field === "" ? {} : { class: field }) }, text),
    );
    this.#table = element("table", {}, element("thead", {}, element("tr", {}, ...cells)), this.#body);
    this.#empty = element("p", { class: "quiet", hidden: "" }, words.nobodyStands);
    this.#filter = element("input", {
      type: "search",
      placeholder: words.filter,
      "aria-label": words.filter,
      hidden: "",
    });
    this.#filter.addEventListener("input", () => this.#showRows());
    this.#toggle = button("", () => {
      this.#all = !this.#all;
      this.#showRows();
    });
    this.node = element(
      "section",
      { class: "card line", "aria-labelledby": "line-title" },
      element("header", {}, element("h2", { id: "line-title" }, words.line), this.#count, this.#filter),
      this.#empty,
      this.#table,
      this.#toggle,
      this.#witnesses,
    );
  }

  show(state: State): void {
    this.#state = state;
    const line = state.overview?.line ?? [];
    this.#empty.hidden = state.overview === undefined || line.length > 0;
    this.#table.hidden = line.length === 0;
    for (const field of optionalFields) {
      this.#table.classList.toggle(
        `no-${field}`,
        line.every((each) => each[field] === undefined),
      );
    }
    this.#showRows();
    const { witnesses = [] } = state.overview ?? {};
    this.#witnesses.hidden = witnesses.length === 0;
    const names = witnesses.map(({ id, zone }) => printable(zone === undefined ? id : `${id} · ${zone}`));
    setText(this.#witnesses, `${this.#words.witnesses}: ${names.join(", ")}`);
  }

  tick(now: number): void {
    for (const row of this.#rows.values()) row.tick(now);
  }

  #showRows(): void {
    const { overview, leases, leasesAt = 0 } = this.#state ?? {};
    const { line = [] } = overview ?? {};
    const many = line.length > firstShown;
    this.#filter.hidden = !many;
    this.#toggle.hidden = !many;
    const wanted = many ? this.#filter.value.trim().toLowerCase() : "";
    const found = [...line.entries()].filter(([, candidate]) => matches(candidate, wanted));
    const shown = this.#all || !many ? found : found.slice(0, firstShown);
    setText(this.#toggle, this.#all ? this.#words.showFewer : this.#words.showAll(found.length));
    this.#toggle.hidden ||= found.length <= firstShown;
    setText(
      this.#count,
      shown.length === line.length
        ? this.#words.candidates(line.length)
        : this.#words.found(shown.length, line.length),
    );
    const keys = new Set(shown.map(([, { key }]) => key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.node.remove();
      this.#rows.delete(key);
    }
    for (const [at, [position, candidate]] of shown.entries()) {
      const row = this.#rows.get(candidate.key) ?? new LineRow(this.#words);
      this.#rows.set(candidate.key, row);
      // Rows keep their order, so mostly nothing is moved.
      const there = this.#body.children[at] ?? null;
      if (there !== row.node) this.#body.insertBefore(row.node, there);
      row.show(candidate, position);
      row.showLease(leases?.leases[candidate.key], leasesAt);
    }
  }
}

function matches({ id, zone = "", address = "" }: Candidate, wanted: string): boolean {
  return wanted === "" || [id, zone, address].some((text) => text.toLowerCase().includes(wanted));
}
