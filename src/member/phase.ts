import type { Cause } from "../errors.ts";

/**
 * The life of a member as data. `next` is pure: it decides, and Member acts.
 *
 *   outside --joined--> waiting --elected--> promoting --ready--> leading
 *    ^   ^                 |                     |                   |
 *    |   +------lost-------+                   lost                lost
 *    |                                           v                   |
 *    +-----------------released-------------- demoting <-------------+
 *
 * From `joined` on the member has a key, which it claims until `lost` and then gives back, in an outage long after
 * `released`. Its work runs from `elected` to `released`. A witness is outside all its life.
 */
export type Phase =
  | { readonly at: "outside" }
  | { readonly at: "waiting"; readonly position: number }
  | { readonly at: "promoting"; readonly token: bigint }
  | { readonly at: "leading"; readonly token: bigint }
  | { readonly at: "demoting"; readonly token: bigint; readonly cause: Cause };

export type PhaseEvent =
  /** A witness has its lease; it stays outside. */
  | { readonly on: "witnessing" }
  /** The key exists, with so many candidates before it. */
  | { readonly on: "joined"; readonly position: number }
  | { readonly on: "moved"; readonly position: number }
  /** First in line, and both proofs stand. */
  | { readonly on: "elected"; readonly token: bigint }
  /** `prepare` is done. */
  | { readonly on: "ready" }
  /** The claim to the key is over. */
  | { readonly on: "lost"; readonly cause: Cause }
  /** The work has stopped. */
  | { readonly on: "released" };

/** Where a member is in its life: every value that there is. */
export const phases = ["outside", "waiting", "promoting", "leading", "demoting"] as const;

export type PhaseName = (typeof phases)[number];

export const outside: Phase = { at: "outside" };

/** The phase after `event`; the very same object when the event does not apply. */
export function next(phase: Phase, event: PhaseEvent): Phase {
  switch (event.on) {
    case "witnessing":
      return phase;
    case "joined":
      return phase.at === "outside" ? { at: "waiting", position: event.position } : phase;
    case "moved":
      return phase.at === "waiting" && phase.position !== event.position
        ? { at: "waiting", position: event.position }
        : phase;
    case "elected":
      return phase.at === "waiting" ? { at: "promoting", token: event.token } : phase;
    case "ready":
      return phase.at === "promoting" ? { at: "leading", token: phase.token } : phase;
    case "lost":
      if (phase.at === "waiting") return outside;
      if (phase.at === "promoting" || phase.at === "leading") {
        return { at: "demoting", token: phase.token, cause: event.cause };
      }
      return phase;
    case "released":
      return phase.at === "demoting" ? outside : phase;
  }
}
