import { badOption } from "../errors.ts";

/** What becomes of a request while this member does not lead. */
export type Otherwise = "respond" | "redirect" | "forward";

export interface LeaderOnlyOptions {
  /**
   * - `respond`: 503, with `Retry-After` and `X-Succession-Leader`.
   * - `redirect`: 307 to the leader's address; 503 while there is none.
   * - `forward`: passed on to the leader; held while nobody leads.
   * @defaultValue "respond"
   */
  readonly otherwise?: Otherwise;
  /** What `Retry-After` of a 503 says. @defaultValue 1 */
  readonly retryAfterSeconds?: number;
  /**
   * Requests that `forward` holds while nobody leads: `most` at a time, each for `timeoutMs`. To lose none when a leader
   * dies, `timeoutMs` must be above its TTL and `most` above TTL × requests per second.
   * @defaultValue 1000 requests, 15000 ms
   */
  readonly hold?: { readonly most?: number; readonly timeoutMs?: number };
  /**
   * Milliseconds for the leader's answer to a forwarded request to begin; then 504. Also for how long it may read no more
   * of a request, or say no more in the middle of an answer, which is then broken off. @defaultValue 60000
   */
  readonly answerTimeoutMs?: number;
  /** How long after the member has left requests still go to its successor. @defaultValue 30000 */
  readonly lingerMs?: number;
}

/** The options with every default in place. */
export interface CheckedGuard {
  readonly otherwise: Otherwise;
  readonly retryAfterSeconds: number;
  readonly hold: { readonly most: number; readonly timeoutMs: number };
  readonly answerTimeoutMs: number;
  readonly lingerMs: number;
}

const knownFields: Readonly<Record<keyof LeaderOnlyOptions, true>> = {
  ...{ otherwise: true, retryAfterSeconds: true, hold: true, answerTimeoutMs: true, lingerMs: true },
};

/** Throws `BAD_OPTION` naming the field, the rule and the value. */
export function checkGuard(options: LeaderOnlyOptions): CheckedGuard {
  checkFields("options", options, Object.keys(knownFields));
  const { otherwise = "respond", retryAfterSeconds = 1, hold = {} } = options;
  checkFields("hold", hold, ["most", "timeoutMs"]);
  const { answerTimeoutMs = 60_000, lingerMs = 30_000 } = options;
  const { most = 1_000, timeoutMs = 15_000 } = hold;
  if (!["respond", "redirect", "forward"].includes(otherwise)) {
    throw badOption("otherwise", '"respond", "redirect" or "forward"', otherwise);
  }
  if (!Number.isInteger(retryAfterSeconds) || retryAfterSeconds < 0) {
    throw badOption("retryAfterSeconds", "an integer of 0 or more", retryAfterSeconds);
  }
  if (!Number.isInteger(most) || most < 0) throw badOption("hold.most", "an integer of 0 or more", most);
  for (const [field, ms] of Object.entries({ "hold.timeoutMs": timeoutMs, answerTimeoutMs, lingerMs })) {
    checkWait(field, ms);
  }
  return { otherwise, retryAfterSeconds, hold: { most, timeoutMs }, answerTimeoutMs, lingerMs };
}

/** One that is misspelt must not be passed over in silence. */
function checkFields(field: string, value: object, known: readonly string[]): void {
  if (typeof value !== "object" || value === null) throw badOption(field, "an object", value);
  const unknown = Object.keys(value).find((each) => !known.includes(each));
  if (unknown !== undefined) throw badOption(field, "without unknown fields", unknown);
}

/** Throws `BAD_OPTION` unless that is a time to wait. */
export function checkWait(field: string, ms: number): void {
  if (typeof ms !== "number" || !(ms >= 0)) throw badOption(field, "a number of milliseconds, 0 or more", ms);
}
