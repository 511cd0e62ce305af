import type { Enclosure } from "./enclosure.ts";

/** What the supervisor tells the shim, one JSON object a line; instants are those of the shared clock. */
export type ShimOrder =
  /** From now on this is what to kill when the supervisor is gone, and at `until` unless it moves. */
  | { readonly on: "hold"; readonly enclosure: Enclosure; readonly until: number | null }
  | { readonly on: "until"; readonly instant: number | null }
  /** Nothing is left of it. */
  | { readonly on: "release" };

/** What the shim says first, when it can be relied on. */
export const shimReady = "ready";
