import type { Candidate, Lease } from "../messages.ts";
import { element, setText } from "./element.ts";
import { LeaseBar } from "./lease-bar.ts";
import { printable } from "./printable.ts";
import type { Words } from "./words.ts";

/** One candidate of the line. */
export class LineRow {
  readonly node: HTMLTableRowElement;
  readonly #words: Words;
  readonly #place: HTMLElement;
  readonly #id: HTMLElement = element("bdi");
  readonly #zone: HTMLElement;
  readonly #priority: HTMLElement;
  readonly #health: HTMLElement;
  readonly #address: HTMLElement;
  readonly #version: HTMLElement;
  readonly #token: HTMLElement;
  readonly #bar: LeaseBar;

  constructor(words: Words) {
    this.#words = words;
    this.#bar = new LeaseBar(words);
    // A narrow page has no head of the table: each cell says what it is.
    const cell = (field: string, title: string): HTMLElement =>
      element("td", { class: field, "data-title": title });
    this.#place = cell("place", words.position);
    this.#zone = cell("zone", words.zone);
    this.#priority = cell("priority", words.priority);
    this.#health = cell("healthy", words.health);
    this.#address = cell("address", words.address);
    this.#version = cell("version", words.version);
    this.#token = cell("token", words.token);
    const id = element("th", { scope: "row", class: "id" }, this.#id);
    const lease = cell("remaining", words.lease);
    lease.append(this.#bar.node);
    this.node = element("tr");
    this.node.append(this.#place, id, this.#zone, this.#priority, this.#health);
    this.node.append(this.#address, this.#version, this.#token, lease);
  }

  show(candidate: Candidate, position: number): void {
    const { id, zone, priority, healthy, address, version, token } = candidate;
    const { leader, next, healthy: well, unhealthy: ill } = this.#words;
    this.node.classList.toggle("leads", position === 0);
    const place = position === 0 ? leader : position === 1 ? `${position + 1} · ${next}` : `${position + 1}`;
    setText(this.#place, place);
    setText(this.#id, printable(id));
    this.#id.title = id;
    setText(this.#zone, printable(zone ?? ""));
    setText(this.#priority, priority?.toString() ?? "");
    setText(this.#health, healthy === undefined ? "" : healthy ? well : ill);
    this.#health.classList.toggle("ill", healthy === false);
    setText(this.#address, printable(address ?? ""));
    setText(this.#version, printable(version ?? ""));
    setText(this.#token, token.toString());
  }

  /** What was left of its lease at `at`, in milliseconds of `performance.now()`. */
  showLease(lease: Lease | undefined, at: number): void {
    this.#bar.set(lease, at);
  }

  tick(now: number): void {
    this.#bar.tick(now);
  }
}
