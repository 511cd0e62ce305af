import { checkElection, checkValue } from "../concurrency/naming.ts";
import type { OnHang } from "../concurrency/renewal-protocol.ts";
import { checkHang, checkTtlSeconds, type SessionOptions } from "../concurrency/session.ts";
import { checkTakeoverDelayMs, leastTakeoverDelayMs, type TakeoverOptions } from "../concurrency/takeover.ts";
import type { Term } from "../concurrency/term.ts";
import { badOption } from "../errors.ts";
import { Etcd, type EtcdOptions } from "../etcd/etcd.ts";
import {
  type CheckedCheckup,
  type CheckupOptions,
  checkCheckup,
  checkupFields,
  type HealthProbe,
} from "../health/checkup.ts";
import { type CheckedHealth, checkHealth, type HealthOptions } from "../health/options.ts";
import type { Logger } from "../log.ts";
import { defaultPriority } from "../steering/survey.ts";
import type { Admission } from "./admission.ts";
import { defaultMetaPrefix, type MemberDetails, marksPrefix } from "./details.ts";
import { Tally } from "./tally.ts";

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
  /**
   * How much this member is to be preferred as leader: a whole number from 0 to 255. The first in waiting makes room for a
   * higher one behind it; equals keep their places. A leader is replaced by a higher one only with `switchBackAfterMs`.
   * @defaultValue 100
   */
  readonly priority?: number;
  /**
   * Milliseconds after which this member, while it leads, hands over to a candidate of higher priority that has stood in
   * line for so long. @defaultValue never
   */
  readonly switchBackAfterMs?: number;
  /**
   * `false` for a witness: it takes no key and never leads, observes, and shows its details. Its role is standby, its
   * phase outside. @defaultValue true
   */
  readonly candidate?: boolean;
  /** Runs when elected, before the role says leader: nobody leads meanwhile. Throwing gives the lead up (`failed`). */
  readonly prepare?: (term: Term) => unknown;
  /**
   * The leader's work. It must stop when `term.signal` aborts. Returning resigns (`finished`), throwing resigns
   * (`failed`); the member then joins again, at the end of the line. Without it, the lead lasts until it is lost.
   */
  readonly lead?: (term: Term) => unknown;
  /**
   * Milliseconds that the work needs to stop: so long before the deadline a term without renewal ends. Half of a TTL
   * of a few seconds leaves no time to try a renewal twice.
   * @defaultValue a tenth of the TTL; at most half of it
   */
  readonly stopTimeoutMs?: number;
  /**
   * Milliseconds to wait before leading, counted from the last end of any earlier key whose holder did not say that its
   * work had stopped, and from the own joining. Closes the one gap that is left: etcd itself removed the key of a leader
   * that goes on until it hears of it, or until its deadline. The price: after a crash, and when the first member comes
   * up, nobody leads for so long. 0, or the TTL or more; the same for all members.
   * @defaultValue 0
   */
  readonly takeoverDelayMs?: number;
  /**
   * Whether a thread beside the main one keeps the member's lease and key proven, so that a busy event loop does not lose
   * the lead. There is one for all members and sessions of the process. @defaultValue true
   */
  readonly worker?: boolean;
  /**
   * Milliseconds without a turn of the event loop after which the process counts as hung: it is kept leader no longer, and
   * is replaced within a TTL from then. Not with `worker: false`. @defaultValue the TTL
   */
  readonly hangAfterMs?: number;
  /**
   * What to do with a process whose event loop is blocked while it leads, when the lead is about to be over: `"kill"`
   * ends it by SIGKILL in time, for nothing else stops code that blocks. Not with `worker: false`.
   * @defaultValue "report"
   */
  readonly onHang?: OnHang;
  /**
   * Whether a small process beside this one guards the member's place: when this process dies, or hangs for `hangAfterMs`
   * and is killed for it, the next in line leads milliseconds later, not after a TTL. There is one for all members of
   * the process. `onHang` is `"kill"` then, unless given. Not with `worker: false`, in process 1, or on Windows.
   * @defaultValue false
   */
  readonly guardian?: boolean;
  /** What to do after the lead or the place in line was lost against our will; exits with 1. @defaultValue "rejoin" */
  readonly onLost?: "rejoin" | "exit";
  /**
   * What to do when the work still runs at the deadline: nothing else can stop it. After a loss with `onLost: "exit"`
   * the process exits in any case. @defaultValue "report"
   */
  readonly onOverrun?: "exit" | "report";
  /**
   * With a `port`: answers health checks over HTTP, `/leader`, `/standby`, `/health`, `/live`, `/status`, and `/metrics`. With a `check`, or
   * as a function: whether the service is well. An unhealthy standby leaves the line until it is well again; an
   * unhealthy leader hands over if somebody stands by, and leads on if not. @defaultValue none
   */
  readonly health?: HealthOptions | HealthProbe | (CheckupOptions & Partial<HealthOptions>);
  /** Where the member's details are kept. @defaultValue "_succession/v1/" */
  readonly metaPrefix?: string;
  /** pino's shape. @defaultValue the logger of `etcd`, else silent */
  readonly logger?: Logger;
  /** @internal Who else has a say in when the member stands. */
  readonly admission?: Admission;
  /** @internal Where it counts on, rather than from 0. */
  readonly tally?: Tally;
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
  /** How long the work has to stop, for the TTL that etcd granted. */
  readonly stopTimeoutMs: (ttlMs: number) => number;
  /** How to take over, for the TTL that etcd granted. */
  readonly takeover: (ttlMs: number) => TakeoverOptions | undefined;
  /** What the member's sessions are opened with. */
  readonly hang: Pick<SessionOptions, "worker" | "hangAfterMs" | "onHang">;
  readonly guardian: boolean;
  readonly onLost: "rejoin" | "exit";
  readonly onOverrun: "exit" | "report";
  readonly health: CheckedHealth | undefined;
  readonly checkup: CheckedCheckup | undefined;
  readonly priority: number;
  readonly switchBackAfterMs: number | undefined;
  readonly candidate: boolean;
  readonly admission: Admission | undefined;
  readonly tally: Tally;
  readonly metaPrefix: string;
  readonly details: Pick<MemberDetails, "address" | "zone" | "priority" | "candidate">;
  readonly prepare: ((term: Term) => unknown) | undefined;
  readonly lead: ((term: Term) => unknown) | undefined;
}

/** Every field of `MemberOptions`: one that is misspelt, or of another version, must not be passed over in silence. */
const knownFields: Readonly<Record<keyof MemberSettings | keyof EtcdOptions | "etcd", true>> = {
  ...{ election: true, id: true, ttlSeconds: true, address: true, zone: true, prepare: true, lead: true },
  ...{
    stopTimeoutMs: true,
    takeoverDelayMs: true,
    onLost: true,
    onOverrun: true,
    metaPrefix: true,
    logger: true,
    signal: true,
  },
  ...{ timeoutMs: true, etcd: true, endpoints: true, tls: true, user: true, password: true },
  ...{ priority: true, switchBackAfterMs: true, candidate: true },
  ...{ worker: true, hangAfterMs: true, onHang: true, guardian: true, health: true },
  ...{ attemptTimeoutMs: true, clock: true, connect: true, admission: true, tally: true },
};

/** Throws `BAD_OPTION` naming the field, the rule and the value. */
export function checkSettings(options: MemberOptions): CheckedSettings {
  if (typeof options !== "object" || options === null) throw badOption("options", "an object", options);
  checkConnection(options);
  for (const field of Object.keys(options)) {
    if (!Object.hasOwn(knownFields, field)) throw badOption("options", "without unknown fields", field);
  }
  const { election, id, ttlSeconds = 10, stopTimeoutMs, onLost = "rejoin", onOverrun = "report" } = options;
  const {
    takeoverDelayMs = 0,
    metaPrefix = defaultMetaPrefix,
    address,
    zone,
    prepare,
    lead,
    timeoutMs,
    signal,
    logger,
  } = options;
  checkElection(election);
  if (typeof id !== "string") throw badOption("id", "text such as name:ip:port", id);
  const value = checkValue("id", id, 1);
  checkTtlSeconds(ttlSeconds);
  const mostMs = (ttlSeconds * 1_000) / 2;
  if (stopTimeoutMs !== undefined && !isNumber(stopTimeoutMs, mostMs)) {
    const rule = `from 0 to half of the TTL, ${mostMs} ms (the more, the longer the TTL must be)`;
    throw badOption("stopTimeoutMs", rule, stopTimeoutMs);
  }
  checkTakeoverDelayMs(takeoverDelayMs, ttlSeconds);
  checkGuardian(options);
  const steering = steeringSettings(options);
  const hang = hangSettings(options);
  if (timeoutMs !== undefined) checkTimeoutMs(timeoutMs);
  checkChoice("onLost", onLost, ["rejoin", "exit"]);
  checkChoice("onOverrun", onOverrun, ["exit", "report"]);
  for (const [field, hook] of Object.entries({ prepare, lead })) {
    if (hook !== undefined && typeof hook !== "function") throw badOption(field, "a function", hook);
  }
  for (const [field, text] of Object.entries({ address, zone, metaPrefix })) {
    if (text !== undefined && typeof text !== "string") throw badOption(field, "text", text);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw badOption("signal", "an AbortSignal", signal);
  if (logger !== undefined && typeof logger?.info !== "function") {
    throw badOption("logger", "an object with debug, info, warn and error", logger);
  }
  // Whatever begins with the election's name is a candidate to `etcdctl get --prefix`.
  if (metaPrefix.startsWith(election)) {
    const rule = `a name that ${metaPrefix}, where details are kept, does not begin with`;
    throw badOption("election", rule, election);
  }
  return {
    ...{ election, id, value, ttlSeconds, hang, onLost, onOverrun, metaPrefix, prepare, lead },
    guardian: options.guardian === true,
    admission: options.admission,
    tally: options.tally ?? new Tally(),
    ...steering,
    ...healthSettings(options.health),
    stopTimeoutMs: (ttlMs) => Math.min(stopTimeoutMs ?? ttlMs / 10, ttlMs / 2),
    takeover: (ttlMs) => {
      if (takeoverDelayMs === 0) return undefined;
      // etcd may have granted more than was asked for.
      const delayMs = Math.max(takeoverDelayMs, leastTakeoverDelayMs(ttlMs));
      return { delayMs, marksPrefix: marksPrefix(election, metaPrefix) };
    },
    details: {
      ...(address === undefined ? {} : { address }),
      ...(zone === undefined ? {} : { zone }),
      ...(options.priority === undefined ? {} : { priority: steering.priority }),
      ...(steering.candidate ? {} : { candidate: false }),
    },
  };
}

function steeringSettings(
  options: MemberSettings,
): Pick<CheckedSettings, "priority" | "switchBackAfterMs" | "candidate"> {
  const { priority = defaultPriority, switchBackAfterMs, candidate = true } = options;
  if (!Number.isInteger(priority) || priority < 0 || priority > 255) {
    throw badOption("priority", "a whole number from 0 to 255", priority);
  }
  if (switchBackAfterMs !== undefined && !isNumber(switchBackAfterMs, 2 ** 31)) {
    throw badOption("switchBackAfterMs", "a number of milliseconds, 0 to 2147483648", switchBackAfterMs);
  }
  if (typeof candidate !== "boolean") throw badOption("candidate", "true or false", candidate);
  return { priority, switchBackAfterMs, candidate };
}

/** The endpoints and the check, of which each may be alone. */
function healthSettings(health: MemberSettings["health"]): Pick<CheckedSettings, "health" | "checkup"> {
  if (health === undefined) return { health: undefined, checkup: undefined };
  if (typeof health === "function") return { health: undefined, checkup: checkCheckup({ check: health }) };
  const fields = Object.entries(health ?? {});
  const isCheckup = ([field]: [string, unknown]): boolean => checkupFields.some((each) => each === field);
  if (!fields.some(isCheckup)) return { health: checkHealth(health as HealthOptions), checkup: undefined };
  const checkup = checkCheckup(Object.fromEntries(fields.filter(isCheckup)) as unknown as CheckupOptions);
  const rest = fields.filter((field) => !isCheckup(field));
  if (rest.length === 0) return { health: undefined, checkup };
  return { health: checkHealth(Object.fromEntries(rest) as unknown as HealthOptions), checkup };
}

function hangSettings(options: MemberSettings): CheckedSettings["hang"] {
  const { worker = true, hangAfterMs, guardian } = options;
  // Whoever has a hung process killed does not want one that leads beside its successor.
  const { onHang = guardian === true ? "kill" : undefined } = options;
  const hang = {
    worker,
    ...(hangAfterMs === undefined ? {} : { hangAfterMs }),
    ...(onHang === undefined ? {} : { onHang }),
  };
  checkHang(hang);
  return hang;
}

/** Throws `BAD_OPTION` where a guardian could not do what it is for. */
function checkGuardian(options: MemberOptions): void {
  const { guardian, worker } = options;
  if (guardian !== undefined && typeof guardian !== "boolean")
    throw badOption("guardian", "true or false", guardian);
  if (guardian !== true) return;
  // The lease of a blocked process would end before it counts as hung.
  if (worker === false) throw badOption("guardian", "false without a worker thread", guardian);
  if (process.platform === "win32") throw badOption("guardian", "false on Windows", guardian);
  if (process.pid === 1) {
    const rule = "false in process 1, whose death ends a guardian too: start it under an init such as tini";
    throw badOption("guardian", rule, guardian);
  }
  const ordinary =
    options.etcd === undefined
      ? options.clock === undefined && options.connect === undefined
      : options.etcd.connection !== undefined;
  if (!ordinary) throw badOption("guardian", "false with a clock or connection of your own", guardian);
}

/** Throws `BAD_OPTION` unless it can be a time limit. */
export function checkTimeoutMs(timeoutMs: number): void {
  if (!isNumber(timeoutMs, Number.POSITIVE_INFINITY)) {
    throw badOption("timeoutMs", "a number of milliseconds, 0 or more", timeoutMs);
  }
}

/** Throws `BAD_OPTION` unless there is one way to etcd. */
export function checkConnection({ etcd, endpoints }: MemberConnection): void {
  if (etcd === undefined) {
    if (endpoints === undefined) throw badOption("endpoints", "given, or else etcd", undefined);
    return;
  }
  if (endpoints !== undefined) throw badOption("etcd and endpoints", "given one without the other", "both");
  if (!((etcd as unknown) instanceof Etcd)) throw badOption("etcd", "a client of this package", etcd);
}

function checkChoice(field: string, value: unknown, choices: readonly string[]): void {
  if (choices.some((choice) => choice === value)) return;
  throw badOption(field, choices.map((choice) => JSON.stringify(choice)).join(" or "), value);
}

function isNumber(value: unknown, most: number): boolean {
  return typeof value === "number" && value >= 0 && value <= most;
}
