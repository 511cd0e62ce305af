import { checkElection } from "../concurrency/naming.ts";
import { badOption } from "../errors.ts";

/** What every steering call takes. */
export interface SteeringOptions {
  /** Where everything about elections is kept that is not a candidate. @defaultValue "_succession/v1/" */
  readonly metaPrefix?: string;
  /** Ends the wait. */
  readonly signal?: AbortSignal;
  /** Milliseconds for all of it. @defaultValue 10000, and 30000 for a handover */
  readonly timeoutMs?: number;
}

/** Text for people is no longer than this. */
const mostText = 1_024;

/** Throws `BAD_OPTION` unless these can be used. */
export function checkSteering(election: string, { metaPrefix, signal, timeoutMs }: SteeringOptions): void {
  checkElection(election);
  if (metaPrefix !== undefined && typeof metaPrefix !== "string") {
    throw badOption("metaPrefix", "text", metaPrefix);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw badOption("signal", "an AbortSignal", signal);
  }
  if (timeoutMs !== undefined && !(Number.isFinite(timeoutMs) && timeoutMs > 0)) {
    throw badOption("timeoutMs", "a number of milliseconds above 0", timeoutMs);
  }
}

/** Throws `BAD_OPTION` unless it is text for people to read. */
export function checkText(field: string, text: unknown): void {
  if (typeof text === "string" && text.trim() !== "" && text.length <= mostText) return;
  throw badOption(field, `text of 1 to ${mostText} characters`, text);
}
