import type { Candidate } from "../concurrency/line.ts";
import type { MemberDetails } from "../member/details.ts";
import { type Target, targetOf } from "./gateway-target.ts";

/**
 * Why new connections wait.
 *
 * - `starting`: the election has not been read, or not yet what the leader tells of itself.
 * - `stale`: no read has confirmed the leader for longer than it may be true.
 * - `no-leader`: nobody leads.
 * - `handover`: the leader gives up by plan; its successor is about to lead.
 * - `no-address`: the leader tells no address that the template can use.
 */
export type WaitReason = "starting" | "stale" | "no-leader" | "handover" | "no-address";

/** What becomes of a new connection. */
export type Route =
  | { readonly at: "open"; readonly leader: Candidate; readonly target: Target }
  | { readonly at: "wait"; readonly why: WaitReason; readonly leader: Candidate | undefined };

/** What is known of an election. */
export interface Known {
  readonly synced: boolean;
  /** Whether the leader was ever confirmed. */
  readonly begun: boolean;
  /** Whether the leader is confirmed now. */
  readonly proven: boolean;
  readonly leader: Candidate | undefined;
  readonly details: Partial<MemberDetails> | undefined;
  /** Whether the leader's details will not come any more, if there are none. */
  readonly settled: boolean;
  readonly draining: boolean;
  readonly template: string;
}

/** Where new connections go. Pure. */
export function routeOf(known: Known): Route {
  const { leader, details, template } = known;
  const wait = (why: WaitReason): Route => ({ at: "wait", why, leader });
  if (!known.proven) return wait(known.begun ? "stale" : "starting");
  if (!known.synced) return wait("starting");
  if (leader === undefined) return wait("no-leader");
  if (known.draining) return wait("handover");
  if (details === undefined && !known.settled) return wait("starting");
  const target = targetOf(template, leader, details);
  return target === undefined ? wait("no-address") : { at: "open", leader, target };
}

export function sameRoute(a: Route, b: Route): boolean {
  if (a.leader?.token !== b.leader?.token) return false;
  if (a.at === "open") return b.at === "open" && a.target.name === b.target.name;
  return b.at === "wait" && a.why === b.why;
}
