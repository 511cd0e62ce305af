import type { TermRecord } from "../member/term-record.ts";
import { durationText } from "./duration.ts";
import { localTime, shown } from "./line-table.ts";

export const termHead: readonly string[] = [
  "TOKEN",
  "LEADER",
  "ZONE",
  "START",
  "END",
  "LASTED",
  "CAUSE",
  "GAP",
];

/** What a narrow screen does without, the first one first. */
export const termDispensable: readonly string[] = ["END", "ZONE", "LASTED", "GAP", "START"];

/** A term as a row for people, below `termHead`; `leading` is the token of the present one. */
export function termRow(term: TermRecord, leading: bigint | undefined): readonly string[] {
  const { token, leader, zone, startedAt, endedAt, cause, gapMs } = term;
  const lasted = Date.parse(endedAt ?? "") - Date.parse(startedAt ?? "");
  return [
    ...[`${token}`, shown(leader), shown(zone), startedAt === undefined ? "-" : shown(localTime(startedAt))],
    endedAt === undefined ? (token === leading ? "leads" : "-") : shown(localTime(endedAt)),
    ...[
      lasted >= 0 ? durationText(lasted) : "-",
      shown(cause),
      gapMs === undefined ? "-" : durationText(gapMs),
    ],
  ];
}
