import { leaseName } from "../concurrency/naming.ts";
import type { LeaseTime } from "../overview/lease-times.ts";
import type { Overview, Place, Witness } from "../overview/overview.ts";
import type { HandoverRequest } from "../steering/request.ts";
import { cutTo } from "./display-width.ts";
import { durationText } from "./duration.ts";
import { printable } from "./output.ts";

/** What is left of leases, where that is known. */
export type LeaseTimes = ReadonlyMap<bigint, LeaseTime>;

export const lineHead: readonly string[] = [
  ...[
    "#",
    "ROLE",
    "ID",
    "ZONE",
    "PRIORITY",
    "LEFT",
    "TOKEN",
    "LEASE",
    "ADDRESS",
    "VERSION",
    "HEALTH",
    "SINCE",
  ],
];

/** What a narrow screen does without, the first one first: who stands where, whether well and alive, stays. */
export const lineDispensable: readonly string[] = [
  ...["LEASE", "VERSION", "SINCE", "ADDRESS", "TOKEN", "PRIORITY", "ZONE"],
];

/** An id may be as long as a page. */
const widestText = 80;

/** The line and the witnesses as rows for people, below `lineHead`. */
export function lineRows({ line, witnesses }: Overview, times: LeaseTimes): readonly (readonly string[])[] {
  return [
    ...line.map((place, at) =>
      row(`${at + 1}`, at === 0 ? "leader" : "standby", place, `${place.token}`, times),
    ),
    ...witnesses.map((witness) => row("-", "witness", witness, "-", times)),
  ];
}

function row(at: string, role: string, of: Place | Witness, token: string, times: LeaseTimes): string[] {
  const { id, leaseId, zone, priority, address, version, startedAt } = of;
  const lease = leaseId === 0n ? "none" : leaseName(leaseId);
  const since = startedAt === undefined ? undefined : localTime(startedAt);
  return [
    ...[at, role, shown(id), shown(zone), priority === undefined ? "-" : `${priority}`],
    ...[leftText(times.get(leaseId)), token, lease],
    ...[shown(address), shown(version), healthText(of), shown(since)],
  ];
}

function healthText({ healthy, draining }: Place | Witness): string {
  if (draining === true) return "leaving";
  if (healthy === undefined) return "-";
  return healthy ? "well" : "unwell";
}

function leftText(time: LeaseTime | undefined): string {
  if (time === undefined) return "-";
  return `${Math.round(time.remainingMs / 1_000)}/${Math.round(time.ttlMs / 1_000)} s`;
}

/** Who leads, in a sentence. */
export function leaderText({ election, leader, line, terms }: Overview): string {
  const name = shown(election);
  if (leader === undefined) return `${name}: nobody leads, and nobody stands in line`;
  const startedAt = terms.find(({ token }) => token === leader.token)?.startedAt;
  const since = startedAt === undefined ? "" : ` since ${shown(localTime(startedAt))}`;
  return `${name}: ${shown(leader.id)} leads${since}, ${line.length - 1} in line behind`;
}

/** What else must be known of an election, a sentence each. */
export function notesOf({ pause, handover }: Overview, times: LeaseTimes): readonly string[] {
  const notes: string[] = [];
  if (pause !== undefined) {
    const { reason, since, by, leaseId } = pause;
    const left = times.get(leaseId);
    const parts = [
      ...[`paused: ${shown(reason)}`, since === "" ? "" : `since ${shown(localTime(since))}`],
      ...[by === undefined ? "" : `by ${shown(by)}`],
      left === undefined ? "" : `for ${durationText(left.remainingMs)} more`,
    ];
    notes.push(parts.filter((part) => part !== "").join(", "));
  }
  if (handover !== undefined) notes.push(handoverText(handover));
  return notes;
}

function handoverText({ to, by, answer }: HandoverRequest): string {
  const whom = to === undefined ? "to the next in line" : `to ${shown(to)}`;
  const who = by === undefined ? "" : `, asked for by ${shown(by)}`;
  return `handover ${whom}${who}${answer === undefined ? "" : ", accepted: the leader is stopping"}`;
}

/** Text from elsewhere, for a table or a sentence. */
export function shown(text: string | undefined): string {
  return text === undefined ? "-" : cutTo(widestText, printable(text));
}

/** A date of etcd's as people here read it; what is none, as it is. */
export function localTime(iso: string): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? iso : date.toLocaleString("sv-SE");
}
