import { element, setText } from "./element.ts";
import { LeaseBar } from "./lease-bar.ts";
import { printable } from "./printable.ts";
import type { State } from "./state.ts";
import { type ServerClock, wholeSeconds } from "./times.ts";
import type { Words } from "./words.ts";

/** Who leads, since when and for how long this is proven; and whether the election is paused. */
export class LeaderView {
  readonly node: HTMLElement;
  readonly #words: Words;
  readonly #clock: ServerClock;
  readonly #role: HTMLElement = element("span", { class: "role" });
  readonly #id: HTMLElement = element("strong", { class: "id" });
  readonly #since: HTMLElement = element("span", { class: "since" });
  readonly #facts: HTMLElement = element("dl", { class: "facts" });
  readonly #bar: LeaseBar;
  readonly #pause: HTMLElement;
  readonly #pauseReason: HTMLElement = element("span", { class: "reason" });
  readonly #pauseFacts: HTMLElement = element("span");
  readonly #handover: HTMLElement = element("p", { class: "handover", role: "status", hidden: "" });
  #state: State | undefined;
  #factsShown = "";

  constructor(words: Words, clock: ServerClock) {
    this.#words = words;
    this.#clock = clock;
    this.#bar = new LeaseBar(words);
    const pausedMark = element("strong", {}, words.paused);
    this.#pause = element(
      "p",
      { class: "pause", hidden: "" },
      pausedMark,
      this.#pauseReason,
      this.#pauseFacts,
    );
    // A screen reader tells who leads as soon as that changes, and not every second for how long.
    const who = element("p", { class: "lead", role: "status" }, this.#role, this.#id);
    this.node = element(
      "section",
      { class: "card leader", "aria-label": words.leader },
      who,
      element("p", { class: "running" }, this.#since, this.#bar.node),
      this.#facts,
      this.#handover,
      this.#pause,
    );
  }

  show(state: State): void {
    this.#state = state;
    const { overview, leases, leasesAt } = state;
    const leader = overview?.leader ?? null;
    const vacant = overview !== undefined && leader === null;
    this.node.classList.toggle("vacant", vacant);
    const { leader: title, nobodyLeads, loading } = this.#words;
    setText(this.#role, overview === undefined ? loading : leader === null ? nobodyLeads : title);
    setText(this.#id, leader === null ? "" : printable(leader.id));
    this.#id.title = leader?.id ?? "";
    this.#bar.node.hidden = leader === null;
    this.#bar.set(leases?.leases[leader?.key ?? ""], leasesAt);
    this.#showFacts(state);
    const pause = overview?.pause ?? null;
    this.#pause.hidden = pause === null;
    setText(this.#pauseReason, printable(pause?.reason ?? ""));
    const { handover = null } = overview ?? {};
    const { handoverPending } = this.#words;
    const [to, by] = [handover?.to, handover?.by].map((name) =>
      name === undefined ? name : printable(name),
    );
    this.#handover.hidden = handover === null;
    setText(this.#handover, handover === null ? "" : handoverPending(to, by));
    this.tick(performance.now());
  }

  tick(now: number): void {
    this.#bar.tick(now);
    const { overview } = this.#state ?? {};
    const { units, leadsFor } = this.#words;
    const startedAt = Date.parse(overview?.history.find(isOf(overview.leader?.token))?.startedAt ?? "");
    const leading = overview?.leader != null && !Number.isNaN(startedAt);
    setText(this.#since, leading ? leadsFor(wholeSeconds(this.#clock.now() - startedAt, units)) : "");
    setText(this.#pauseFacts, this.#pauseText(now));
  }

  #showFacts({ overview }: State): void {
    const { zone, priority, address, version, token } = overview?.leader ?? {};
    const words = this.#words;
    const facts = [
      [words.zone, zone],
      [words.priority, priority?.toString()],
      [words.address, address],
      [words.token, token?.toString()],
      [words.version, version],
    ] as const;
    const known = facts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
    const shown = JSON.stringify(known);
    if (shown === this.#factsShown) return;
    this.#factsShown = shown;
    this.#facts.replaceChildren(
      ...known.map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, printable(value))),
      ),
    );
  }

  #pauseText(now: number): string {
    const { overview, leases, leasesAt = 0 } = this.#state ?? {};
    const { pause } = overview ?? {};
    const { pauseMs } = leases ?? {};
    if (pause == null) return "";
    const { units, pausedBy, pausedFor, pauseEndsIn, pauseHasNoEnd } = this.#words;
    const since = Date.parse(pause.since ?? "");
    const parts = [
      ...(pause.by === undefined ? [] : [pausedBy(printable(pause.by))]),
      ...(Number.isNaN(since)
        ? []
        : [pausedFor(wholeSeconds(roundedDown(this.#clock.now() - since), units))]),
      ...(pause.ends ? [] : [pauseHasNoEnd]),
      ...(pause.ends && pauseMs !== undefined
        ? [pauseEndsIn(wholeSeconds(leasesAt + pauseMs - now, units))]
        : []),
    ];
    return parts.join(" · ");
  }
}

function isOf(token: number | undefined): (term: { readonly token: number }) => boolean {
  return (term) => term.token === token;
}

function roundedDown(ms: number): number {
  return Math.floor(ms / 1_000) * 1_000;
}
