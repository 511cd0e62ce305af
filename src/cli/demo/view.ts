import type { Style } from "../style.ts";
import type { SeatState } from "./seat.ts";
import { seconds } from "./timeline.ts";

/** What the demo looks like at one moment. */
export interface View {
  readonly title: string;
  readonly seats: readonly {
    readonly name: string;
    readonly state: SeatState;
    readonly address: string | undefined;
    /** The token of the term in which it leads now. */
    readonly token: bigint | undefined;
    readonly served: number;
  }[];
  /** Who stands in line, the leader first. */
  readonly line: readonly { readonly name: string; readonly gone: boolean }[];
  readonly requests: { readonly ok: number; readonly failed: number };
  /** Since when, in milliseconds, nobody leads. */
  readonly leaderlessNowMs: number | undefined;
  readonly leaderlessMs: number;
  readonly failovers: number;
  readonly overlaps: number;
}

/** The view as lines that fit into 80 columns. */
export function viewLines(view: View, style: Style): readonly string[] {
  const { dim, bad } = style;
  const row = (label: string, text: string): string => `  ${dim(label.padEnd(10))}${text}`;
  return [
    "",
    view.title,
    "",
    ...view.seats.map((seat) => seatLine(seat, view, style)),
    "",
    row("line", lineText(view, style)),
    row("requests", requestsText(view.requests, style)),
    row(
      "no leader",
      view.leaderlessNowMs === undefined
        ? `${seconds(view.leaderlessMs)} in all`
        : bad(`${seconds(view.leaderlessMs)} in all, ${seconds(view.leaderlessNowMs)} of it now`),
    ),
    row("failovers", `${view.failovers}${style.between}${overlapsText(view.overlaps, style)}`),
  ];
}

/** The state in the words of one plain line. */
export function lineText({ line }: Pick<View, "line">, style: Style): string {
  if (line.length === 0) return "nobody";
  return line
    .map(({ name, gone }, at) => (gone ? style.dim(`${name} (gone)`) : at === 0 ? style.bold(name) : name))
    .join(style.next);
}

export function requestsText({ ok, failed }: View["requests"], style: Style): string {
  return `${ok} served${style.between}${failed} failed`;
}

function overlapsText(overlaps: number, { bold, bad }: Style): string {
  return overlaps === 0
    ? "never two leaders at once"
    : bold(bad(`${plural(overlaps, "overlap")} of leaders`));
}

export function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function seatLine(seat: View["seats"][number], view: View, style: Style): string {
  const { bold, dim, good, bad } = style;
  const { name, state, address = "", token, served } = seat;
  const place = view.line.findIndex((each) => each.name === name && !each.gone);
  const tail = `${address.padEnd(17)}${dim(`${served} served`)}`;
  if (token !== undefined)
    return `  ${good(style.dot)} ${bold(name)}  ${good(`leads, token ${token}`.padEnd(22))}${tail}`;
  if (state === "down") return `  ${bad(style.cross)} ${name}  ${bad("down".padEnd(22))}${tail}`;
  const text =
    state === "new"
      ? ""
      : state !== "standing"
        ? state
        : place > 0
          ? `standby, number ${place + 1}`
          : "standby";
  return `  ${dim(style.ring)} ${name}  ${text.padEnd(22)}${tail}`;
}
