import type { Charge } from "./charge.ts";

/** What the service tells its guardian, one JSON object a line; an empty line is a sign of life. */
export type GuardianOrder =
  /** From now on this is to be given back; takes the place of what was said of the same lease before. */
  | { readonly do: "hold"; readonly charge: Charge }
  /** The service has given it back by itself. */
  | { readonly do: "drop"; readonly leaseId: string };

/** What the guardian tells the service, in the same way. */
export type GuardianWord =
  /** It can be relied on. */
  { readonly on: "ready" } | { readonly on: "warning"; readonly message: string; readonly why: string };

/** How often the service says that it lives. */
export const serviceBeatMs = 50;
/** How often the guardian does: nothing is lost by noticing seconds later that it does not. */
export const guardianBeatMs = 500;
