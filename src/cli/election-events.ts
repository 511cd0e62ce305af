import type { Candidate } from "../concurrency/line.ts";
import type { Cause } from "../errors.ts";
import type { MemberChange } from "../member/member.ts";
import { type Output, printable } from "./output.ts";

/** What `elect --json` prints, but for the time. */
export interface ElectionEvent {
  readonly event: "candidate" | "leader" | "standby" | "observed" | "error";
  readonly election: string;
  readonly id: string | null;
  /** The present leader's id. */
  readonly leader: string | null;
  /** The present leader's token. */
  readonly token: bigint | null;
  readonly cause: Cause | string | null;
  /** For people, with an error. */
  readonly message?: string;
}

/** Tells what happens in an election, as text or as JSON. */
export class Teller {
  readonly #output: Output;
  readonly #json: boolean;
  readonly #election: string;
  readonly #id: string | undefined;
  #before: MemberChange | undefined;
  /** The token of the last own term. */
  #ownToken: bigint | undefined;

  constructor(output: Output, json: boolean, election: string, id: string | undefined) {
    this.#output = output;
    this.#json = json;
    this.#election = election;
    this.#id = id;
  }

  /** A change of the own member. */
  changed(change: MemberChange): void {
    const { term } = change;
    if (term !== undefined) this.#ownToken = term.token;
    const now = { ...change, leader: this.#leaderIn(change) };
    const leader = term === undefined ? now.leader : { id: this.#id ?? "", token: term.token };
    for (const name of eventNames(this.#before, now)) {
      const cause = name === "standby" ? now.cause : undefined;
      this.#tell(name, leader, cause, () => this.#asText(name, now));
    }
    this.#before = now;
  }

  /** The leader; but a key of our own on which we do not lead any more, or not yet, is none. */
  #leaderIn({ term, leader, phase }: MemberChange): Candidate | undefined {
    if (term !== undefined || leader === undefined) return leader;
    const ours = leader.token === this.#ownToken || (phase === "outside" && leader.id === this.#id);
    return ours ? undefined : leader;
  }

  /** Another leader, or none. */
  observed(leader: Candidate | undefined): void {
    this.#tell("observed", leader, undefined, () =>
      leader === undefined ? [`${clock()}  nobody leads`] : [printable(leader.key), printable(leader.id)],
    );
  }

  /** Trouble that the command waits out; told to people on standard error. */
  trouble(code: string, message: string): void {
    this.#output.say(message);
    if (!this.#json) return;
    this.#print({ event: "error", leader: null, token: null, cause: code, message });
  }

  /** An end of trouble. */
  relief(message: string): void {
    this.#output.say(message);
  }

  #tell(
    event: ElectionEvent["event"],
    leader: { readonly id: string; readonly token: bigint } | undefined,
    cause: Cause | undefined,
    asText: () => readonly string[],
  ): void {
    if (this.#json) {
      this.#print({ event, leader: leader?.id ?? null, token: leader?.token ?? null, cause: cause ?? null });
    } else {
      for (const line of asText()) this.#output.print(line);
    }
  }

  #print({ event, ...rest }: Omit<ElectionEvent, "election" | "id">): void {
    const time = new Date().toISOString();
    this.#output.json({ event, election: this.#election, id: this.#id ?? null, ...rest, time });
  }

  #asText(name: ElectionEvent["event"], change: MemberChange): readonly string[] {
    const { leader, position, cause, term } = change;
    const leads =
      leader === undefined ? "nobody leads" : `${printable(leader.id)} leads with token ${leader.token}`;
    switch (name) {
      case "leader":
        // The key and the value, as etcdctl prints them.
        return [
          `${clock()}  leader with token ${term?.token}`,
          printable(term?.key ?? ""),
          printable(this.#id ?? ""),
        ];
      case "candidate":
        return [`${clock()}  candidate of ${printable(this.#election)}`];
      case "standby":
        if (cause !== undefined) return [`${clock()}  standby: ${cause}`];
        return [`${clock()}  standby, number ${(position ?? 0) + 1} in line; ${leads}`];
      default:
        return [`${clock()}  ${leads}`];
    }
  }
}

/** Which events a change of a member amounts to, in order. Pure, for tests. */
export function eventNames(
  before: MemberChange | undefined,
  now: MemberChange,
): readonly Exclude<ElectionEvent["event"], "error">[] {
  const wasInLine = before !== undefined && inLine(before);
  const joined = inLine(now) && !wasInLine ? (["candidate"] as const) : [];
  if (now.role === "leader") return before?.role === "leader" ? joined : [...joined, "leader"];
  if (before?.role === "leader" || (wasInLine && !inLine(now))) return [...joined, "standby"];
  // First in line is not standing by: leading follows at once.
  if (joined.length > 0) return (now.position ?? 0) > 0 ? [...joined, "standby"] : joined;
  const another =
    before?.leader?.token !== now.leader?.token || before?.leader?.revision !== now.leader?.revision;
  const waits = now.phase === "waiting" || now.phase === "outside";
  return another && waits && now.position !== 0 ? ["observed"] : [];
}

function inLine({ phase }: MemberChange): boolean {
  return phase === "waiting" || phase === "promoting" || phase === "leading";
}

/** The time of day, for people. */
function clock(): string {
  return new Date().toLocaleTimeString("sv-SE");
}
