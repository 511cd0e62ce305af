import { SuccessionError } from "../errors.ts";
import type { Member } from "../member/member.ts";
import type { Lead } from "./lead.ts";

/** What came of asking a leader to step down. */
export type StepDown =
  /** The lead is over, and the program is stopping. */
  | { readonly at: "given-up" }
  /** Refused, for a reason that holds for any handover now; nothing has changed. */
  | { readonly at: "refused"; readonly reason: string }
  /** etcd did not answer, or would not let it; nothing has changed. */
  | { readonly at: "failed"; readonly reason: string };

/** Whoever asks may be a program that waits for the answer: well within its patience of ten seconds. */
const answerWithinMs = 5_000;

/**
 * Has the leader hand over to the next in line, as `succession handover` would: the pause is respected, and where nobody
 * stands by the leader leads on, for a lead that nobody takes is only an interruption. Resolves as soon as the lead is
 * over, while the program is still stopping, for it may be who asks. Never rejects.
 */
export async function stepDown(member: Member, lead: Lead): Promise<StepDown> {
  const handedOver = member.handover({ timeoutMs: answerWithinMs }).then(
    () => undefined,
    (error: unknown) => error,
  );
  const trouble = await Promise.race([lead.over, handedOver]);
  // However it ended meanwhile: there is no lead any more.
  if (trouble === undefined || lead.isOver) return { at: "given-up" };
  const refused = trouble instanceof SuccessionError && trouble.code === "REFUSED";
  return { at: refused ? "refused" : "failed", reason: messageOf(trouble) };
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
