import type { OverviewMessage } from "../messages.ts";
import { button, element, setText } from "./element.ts";
import { askForHandover, askForPause, askForResume, askForToken, type Desk } from "./questions.ts";
import type { State } from "./state.ts";

/** The buttons that steer an election; a server without a token has none. */
export class ActionsView {
  readonly node: HTMLElement;
  readonly #desk: Desk;
  readonly #readOnly: HTMLElement;
  readonly #handover: HTMLButtonElement;
  readonly #pause: HTMLButtonElement;
  readonly #resume: HTMLButtonElement;
  readonly #lock: HTMLButtonElement;
  #state: State | undefined;

  constructor(desk: Desk) {
    const { words, steering } = desk;
    this.#desk = desk;
    this.#readOnly = element("span", { class: "badge", hidden: "" }, words.readOnly);
    this.#handover = button(words.handOver, () => this.#ask(askForHandover));
    this.#pause = button(words.pause, () => this.#ask(askForPause));
    this.#resume = button(words.resume, () => this.#ask(askForResume), "main");
    this.#lock = button(words.unlock, () => {
      if (steering.unlocked) steering.lock();
      else askForToken(desk);
    });
    this.node = element(
      "div",
      { class: "actions" },
      ...[this.#readOnly, this.#handover, this.#pause, this.#resume, this.#lock],
    );
  }

  show(state: State): void {
    this.#state = state;
    const { words, steering } = this.#desk;
    const { hello, overview, link, etcdAway } = state;
    const offered = hello?.steering === true;
    this.#readOnly.hidden = hello === undefined || offered;
    this.#lock.hidden = !offered;
    setText(this.#lock, steering.unlocked ? words.lock : words.unlock);
    const paused = overview?.pause != null;
    // Nobody steers by old data.
    const blind = link !== "live" || etcdAway || overview === undefined;
    const reason =
      overview?.leader == null
        ? words.nobodyLeads
        : overview.line.length < 2
          ? words.noStandby
          : paused
            ? words.notWhilePaused
            : "";
    this.#handover.hidden = !offered;
    this.#handover.disabled = blind || reason !== "";
    this.#handover.title = reason;
    this.#pause.hidden = !offered || paused;
    this.#pause.disabled = blind;
    this.#resume.hidden = !offered || !paused;
    this.#resume.disabled = blind;
  }

  /** Who has not shown the token is asked for it first. */
  #ask(question: (desk: Desk, overview: OverviewMessage) => void): void {
    const go = (): void => {
      const { overview } = this.#state ?? {};
      if (overview !== undefined) question(this.#desk, overview);
    };
    if (this.#desk.steering.unlocked) go();
    else askForToken(this.#desk, go);
  }
}
