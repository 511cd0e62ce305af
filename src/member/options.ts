import { checkElection, checkValue } from "../concurrency/candidacy.ts";
import { checkTtlSeconds } from "../concurrency/session.ts";
import type { Term } from "../concurrency/term.ts";
import { badOption } from "../errors.ts";
import type { Etcd, EtcdOptions } from "../etcd/etcd.ts";
import type { Logger } from "../log.ts";
import { defaultMetaPrefix } from "./details.ts";

/** How a member reaches etcd: by a client of its own, or by one that it does not own. */
export type MemberConnection =
  | (Omit<EtcdOptions, "logger" | "attemptTimeoutMs"> & { readonly etcd?: never })
  | { readonly etcd: Etcd; readonly endpoints?: never };

export interface MemberSettings {
  /** The name of the election, such as `/merc`: without a trailing `/`. */
  readonly election: string;
  /** Who this is, for people and other programs; commonly `name:ip:port`. 1 to 4096 bytes. */
  readonly id: string;
  /**
   * Seconds after which a member that was lost without a word is replaced; a whole number. etcd grants 2 or more.
   * @defaultValue 10
   */
  readonly ttlSeconds?: number;
  /** Where clients reach this member. */
  readonly address?: string;
  /** Its data centre. */
  readonly zone?: string;
  /** Runs when elected, before the role says leader; throwing gives the lead up. */
  readonly prepare?: (term: Term) => unknown;
  /**
   * The leader's work. It must stop when `term.signal` aborts. Returning resigns (`finished`), throwing resigns
   * (`failed`); the member then joins again, at the end of the line. Without it, the lead lasts until it is lost.
   */
  readonly lead?: (term: Term) => unknown;
  /**
   * Milliseconds that the work needs to stop: so long before the deadline a term without renewal ends.
   * @defaultValue a tenth of the TTL; at most half of it
   */
  readonly stopTimeoutMs?: number;
  /** What to do after the lead or the place in line was lost against our will. @defaultValue "rejoin" */
  readonly onLost?: "rejoin" | "exit";
  /** What to do when the work still runs at the deadline: nothing else can stop it. @defaultValue "report" */
  readonly onOverrun?: "exit" | "report";
  /** Where the member's details are kept. @defaultValue "_succession/v1/" */
  readonly metaPrefix?: string;
  /** pino's shape. @defaultValue silent */
  readonly logger?: Logger;
  /** Ends the wait of `Member.join`. */
  readonly signal?: AbortSignal;
  /** Milliseconds that `Member.join` waits. @defaultValue for ever */
  readonly timeoutMs?: number;
}

export type MemberOptions = MemberSettings & MemberConnection;

/** The settings with every default in place. */
export interface CheckedSettings {
  readonly election: string;
  readonly id: string;
  readonly value: Uint8Array;
  readonly ttlSeconds: number;
  readonly stopTimeoutMs: number | undefined;
  readonly onLost: "rejoin" | "exit";
  readonly onOverrun: "exit" | "report";
  readonly metaPrefix: string;
  readonly details: { readonly address?: string; readonly zone?: string };
  readonly prepare: ((term: Term) => unknown) | undefined;
  readonly lead: ((term: Term) => unknown) | undefined;
}

/** Throws `BAD_OPTION` naming the field, the rule and the value. */
export function checkSettings(options: MemberSettings): CheckedSettings {
  const { election, id, ttlSeconds = 10, stopTimeoutMs, onLost = "rejoin", onOverrun = "report" } = options;
  const { metaPrefix = defaultMetaPrefix, address, zone, prepare, lead, timeoutMs } = options;
  checkElection(election);
  if (typeof id !== "string") throw badOption("id", "text such as name:ip:port", id);
  const value = checkValue("id", id, 1);
  checkTtlSeconds(ttlSeconds);
  const mostMs = (ttlSeconds * 1_000) / 2;
  if (stopTimeoutMs !== undefined && !(stopTimeoutMs >= 0 && stopTimeoutMs <= mostMs)) {
    throw badOption(
      "stopTimeoutMs",
      `from 0 to half of the TTL, ${mostMs} ms (the more, the longer the TTL must be)`,
      stopTimeoutMs,
    );
  }
  if (onLost !== "rejoin" && onLost !== "exit") throw badOption("onLost", `"rejoin" or "exit"`, onLost);
  if (onOverrun !== "exit" && onOverrun !== "report")
    throw badOption("onOverrun", `"exit" or "report"`, onOverrun);
  if (timeoutMs !== undefined && !(timeoutMs >= 0))
    throw badOption("timeoutMs", "a number of milliseconds, 0 or more", timeoutMs);
  for (const [field, hook] of Object.entries({ prepare, lead })) {
    if (hook !== undefined && typeof hook !== "function") throw badOption(field, "a function", hook);
  }
  for (const [field, text] of Object.entries({ address, zone, metaPrefix })) {
    if (text !== undefined && typeof text !== "string") throw badOption(field, "text", text);
  }
  // Whatever begins with the election's name is a candidate to `etcdctl get --prefix`.
  if (metaPrefix.startsWith(election))
    throw badOption("metaPrefix", "outside the election's own names", metaPrefix);
  return {
    ...{ election, id, value, ttlSeconds, stopTimeoutMs, onLost, onOverrun, metaPrefix, prepare, lead },
    details: { ...(address === undefined ? {} : { address }), ...(zone === undefined ? {} : { zone }) },
  };
}
