import { Kept } from "./kept.ts";
import type { RangeName } from "./terms.ts";
import type { DurationUnits } from "./times.ts";
import { chinese } from "./words-chinese.ts";
import { english } from "./words-english.ts";

export type Language = "en" | "zh-CN";

/** Everything that the page says, in one language. */
export interface Words {
  readonly units: DurationUnits;
  readonly otherLanguage: string;
  readonly connecting: string;
  readonly live: string;
  readonly stale: string;
  lost(ago: string): string;
  etcdAway(ago: string): string;
  readonly loading: string;
  readonly notShown: string;
  cannotList(why: string): string;
  cannotRead(why: string): string;
  readonly notAllRead: string;
  readonly elections: string;
  readonly noElections: string;
  moreElections(count: number): string;
  candidates(count: number): string;
  readonly leader: string;
  readonly nobodyLeads: string;
  readonly nobodyStands: string;
  leadsFor(time: string): string;
  readonly paused: string;
  pausedBy(who: string): string;
  pausedFor(time: string): string;
  pauseEndsIn(time: string): string;
  readonly pauseHasNoEnd: string;
  handoverPending(to: string | undefined, by: string | undefined): string;
  readonly line: string;
  readonly position: string;
  readonly id: string;
  readonly zone: string;
  readonly priority: string;
  readonly health: string;
  readonly healthy: string;
  readonly unhealthy: string;
  readonly address: string;
  readonly version: string;
  readonly token: string;
  readonly lease: string;
  leaseLeft(time: string): string;
  readonly leaseUnknown: string;
  readonly next: string;
  readonly witnesses: string;
  readonly filter: string;
  showAll(count: number): string;
  readonly showFewer: string;
  found(count: number, of: number): string;
  readonly terms: string;
  readonly noTerms: string;
  readonly range: string;
  readonly ranges: Readonly<Record<RangeName, string>>;
  readonly timelineHelp: string;
  readonly others: string;
  nobodyFor(time: string): string;
  readonly stillLeads: string;
  readonly from: string;
  readonly until: string;
  readonly lasted: string;
  readonly endedBy: string;
  readonly unknownCause: string;
  readonly gapBefore: string;
  readonly failovers: string;
  readonly noFailovers: string;
  failoverSummary(count: number, median: string, longest: string): string;
  readonly failoverNote: string;
  readonly planned: string;
  readonly unplanned: string;
  readonly asTable: string;
  readonly causes: Readonly<Record<string, string>>;
  readonly readOnly: string;
  readonly unlock: string;
  readonly lock: string;
  readonly unlockTitle: string;
  readonly unlockHelp: string;
  readonly tokenLabel: string;
  readonly tokenWrong: string;
  readonly cancel: string;
  readonly working: string;
  readonly handOver: string;
  readonly handOverTitle: string;
  handOverHelp(leader: string): string;
  readonly handOverTo: string;
  nextInLine(id: string): string;
  handOverDone(id: string, time: string): string;
  readonly notWhilePaused: string;
  readonly noStandby: string;
  readonly pause: string;
  readonly pauseTitle: string;
  readonly pauseHelp: string;
  readonly reason: string;
  readonly reasonMissing: string;
  readonly yourName: string;
  readonly lasts: string;
  readonly untilResumed: string;
  readonly pauseDone: string;
  readonly resume: string;
  readonly resumeTitle: string;
  readonly resumeHelp: string;
  readonly resumeDone: string;
  readonly serverSilent: string;
  /** A refusal by its code; `reason` is in English, and names who is meant. */
  refused(refusal: string, reason: string): string;
  /** Anything else that was not done, likewise. */
  failed(code: string, reason: string): string;
}

const all: Readonly<Record<Language, Words>> = { en: english, "zh-CN": chinese };
const chosen = new Kept(() => localStorage, "succession-language");

export function wordsIn(language: Language): Words {
  return all[language];
}

/** What the reader chose before, else what the browser asks for. */
export function preferredLanguage(): Language {
  const { value } = chosen;
  if (value === "en" || value === "zh-CN") return value;
  const first = navigator.languages.find((each) => /^(en|zh)\b/i.test(each)) ?? "en";
  return first.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
}

export function rememberLanguage(language: Language): void {
  chosen.value = language;
}
