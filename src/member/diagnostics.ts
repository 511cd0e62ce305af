import { type Channel, channel } from "node:diagnostics_channel";
import type { Cause } from "../errors.ts";
import type { Role } from "./changes.ts";
import type { Member } from "./member.ts";
import type { PhaseName } from "./phase.ts";

/** Whose message it is. */
export interface MemberMessage {
  readonly member: Member;
  readonly election: string;
  readonly id: string;
}

/** Why a role has changed: the member was elected, or why its term ended. */
export type RoleChangeCause = "elected" | Cause;

/** What is told on the channels of `node:diagnostics_channel`, in the turn in which it happens. */
export interface DiagnosticMessages {
  /** The member moved on in its life. A term ends with the phase `demoting`, its work with `outside`. */
  readonly "succession:phase": MemberMessage & {
    readonly from: PhaseName;
    readonly to: PhaseName;
    /** Of the term to which the move belongs. */
    readonly token: bigint | undefined;
    /** Why a term or candidacy ended, where that is the move. */
    readonly cause: Cause | undefined;
  };
  /** The role has changed. Who asks `member.role` may have known that a moment before. */
  readonly "succession:role": MemberMessage & {
    readonly role: Role;
    readonly token: bigint;
    readonly cause: RoleChangeCause;
  };
  /** The role says leader from now on. */
  readonly "succession:term:start": MemberMessage & {
    readonly token: bigint;
    /** For how many milliseconds nobody led before; `undefined` where this member saw no earlier term end. */
    readonly failoverMs: number | undefined;
  };
  /** The role says standby from now on; the work of the term has yet to stop. */
  readonly "succession:term:end": MemberMessage & {
    readonly token: bigint;
    readonly cause: Cause;
    /** How long it lasted. */
    readonly lengthMs: number;
  };
  /** The member's lease was renewed. */
  readonly "succession:keepalive": MemberMessage & { readonly roundTripMs: number };
}

/** The names of the channels. */
export type DiagnosticChannel = keyof DiagnosticMessages;

const channels: Readonly<Record<DiagnosticChannel, Channel>> = {
  "succession:phase": channel("succession:phase"),
  "succession:role": channel("succession:role"),
  "succession:term:start": channel("succession:term:start"),
  "succession:term:end": channel("succession:term:end"),
  "succession:keepalive": channel("succession:keepalive"),
};

/** Costs a look at a flag while nobody has subscribed. A subscriber that throws is reported as an uncaught exception by Node.js. */
export function publish<C extends DiagnosticChannel>(
  name: C,
  member: Member,
  message: Omit<DiagnosticMessages[C], keyof MemberMessage>,
): void {
  const to = channels[name];
  if (to.hasSubscribers) to.publish({ member, election: member.election, id: member.id, ...message });
}
