import type { Output } from "../output.ts";
import { type Style, styleFor } from "../style.ts";
import type { Summary } from "./record.ts";
import type { Stage } from "./stage.ts";
import { duration, timeline } from "./timeline.ts";
import { lineText, plural, requestsText, viewLines } from "./view.ts";

const redrawEveryMs = 100;

/** Shows a stage: live on a terminal, as plain lines elsewhere, as one JSON object at the end where that is wanted. */
export class Show {
  readonly #output: Output;
  readonly #json: boolean;
  readonly #style: Style;
  #stage: Stage | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(output: Output, json: boolean) {
    this.#output = output;
    this.#json = json;
    this.#style = styleFor(output.looks);
  }

  open(stage: Stage): void {
    this.#stage = stage;
    const draw = (): void => this.#output.footer(viewLines(stage.view, this.#style));
    if (this.#live) {
      draw();
      this.#timer = setInterval(draw, redrawEveryMs);
    } else this.tell(stage.view.title);
  }

  /** Something has happened. */
  tell(text: string): void {
    const time = new Date().toLocaleTimeString("sv-SE");
    const line = this.#live ? `${this.#style.dim(time)}  ${text}` : `${time}  ${text}${this.#aside()}`;
    if (this.#json) this.#output.say(line);
    else this.#output.print(line);
  }

  close(): void {
    clearInterval(this.#timer);
    if (this.#live && this.#stage !== undefined) this.#output.footer([]);
  }

  /** The whole story. */
  end(stage: Stage, summary: Summary, now: number): void {
    if (this.#json) {
      this.#output.json(summary);
      return;
    }
    const names = stage.seats.map((seat) => seat.name);
    const { columns } = this.#output.looks;
    const lines = timeline(stage.record.terms, names, now, { style: this.#style, columns });
    for (const line of ["", ...lines, "", ...this.#totals(stage, summary, now)]) this.#output.print(line);
  }

  #totals(stage: Stage, { failovers, requests, overlaps }: Summary, now: number): readonly string[] {
    const { bold, dim, bad } = this.#style;
    const row = (label: string, text: string): string => `  ${dim(label.padEnd(11))}${text}`;
    const times = (kind: string): string =>
      failovers
        .filter((each) => each.kind === kind)
        .map(({ ms }) => duration(ms))
        .join(this.#style.between);
    return [
      bold(plural(failovers.length, "failover")),
      ...(times("crash") === "" ? [] : [row("crash", times("crash"))]),
      ...(times("handover") === "" ? [] : [row("handover", times("handover"))]),
      row("no leader", `${duration(stage.record.leaderlessMs(now))} in all`),
      row("requests", requestsText(requests, this.#style)),
      row(
        "overlaps",
        overlaps === 0 ? "0: there never were two leaders at once" : bad(`${overlaps}: TWO LEADERS AT ONCE`),
      ),
    ];
  }

  get #live(): boolean {
    return this.#output.looks.live && !this.#json;
  }

  /** Where nothing is drawn, each line says how things stand. */
  #aside(): string {
    const view = this.#stage?.view;
    if (view === undefined || view.line.length === 0) return "";
    return ` (line ${lineText(view, this.#style)}; ${requestsText(view.requests, this.#style)})`;
  }
}
