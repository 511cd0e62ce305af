import { shown } from "./line-table.ts";
import { printable } from "./output.ts";
import type { WatchEvent } from "./watch-events.ts";

/** An event as a line for people, but for time and election. */
export function eventText(of: WatchEvent): string {
  const { event, id, token, cause } = of;
  const who = shown(id ?? undefined);
  switch (event) {
    case "observed":
      return id === null ? "nobody leads" : `${who} leads with token ${token}`;
    case "leader":
      return `${who} leads with token ${token}`;
    case "candidate":
      return `${who} stands in line`;
    case "left":
      return `${who} has left the line`;
    case "ended":
      return `term ${token} of ${who} ended: ${shown(cause ?? "for a cause unknown")}`;
    case "paused":
      return `paused${by(of)}: ${shown(of.reason)}`;
    case "resumed":
      return "not paused any more";
    case "handover":
      return `handover to ${of.to == null ? "the next in line" : shown(of.to)} asked for${by(of)}`;
    case "error":
      return printable(of.message ?? "");
  }
}

function by(of: WatchEvent): string {
  return of.by == null ? "" : ` by ${shown(of.by)}`;
}
