import { SuccessionError } from "../errors.ts";

/**
 * Why a change of leader or a pause is not possible now. A closed list, for those who say it in words of their own.
 *
 * - `no-leader`, `no-standby`: nobody leads, or stands by.
 * - `another-leader`: another term has begun than the one that was meant.
 * - `paused`: changes of leader are. `paused-already`: so is the election that was to be.
 * - `not-in-line`, `leads-already`, `witness`, `shared-id`: whom the one named cannot be.
 * - `under-way`: another handover is.
 * - `stranger-leads`, `strangers-between`: one that is no member cannot be asked, or passed over.
 * - `line-changes`: so fast that nothing can be decided on.
 */
export const refusalCodes = [
  "no-leader",
  "no-standby",
  "another-leader",
  "paused",
  "paused-already",
  "not-in-line",
  "leads-already",
  "witness",
  "shared-id",
  "under-way",
  "stranger-leads",
  "strangers-between",
  "line-changes",
] as const;

export type RefusalCode = (typeof refusalCodes)[number];

/** What was asked for is not possible now. */
export interface Refusal {
  readonly at: "refused";
  /** Missing where whoever refused is of an older version. */
  readonly code?: RefusalCode;
  readonly reason: string;
}

export function refused(code: RefusalCode, reason: string): Refusal {
  return { at: "refused", code, reason };
}

/** A refusal as it was stored. */
export function refusalIn({ code, reason }: { readonly code?: unknown; readonly reason?: unknown }): Refusal {
  const known = refusalCodes.find((each) => each === code);
  const told = typeof reason === "string" ? reason : "no reason was given";
  return { at: "refused", ...(known === undefined ? {} : { code: known }), reason: told };
}

/** A refusal, as whoever asked gets it. */
export class RefusedError extends SuccessionError {
  readonly refusal: RefusalCode | undefined;

  constructor({ code, reason }: Refusal) {
    super("REFUSED", reason);
    this.refusal = code;
  }
}
