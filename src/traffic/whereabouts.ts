import type { Candidate } from "../concurrency/line.ts";
import type { Term } from "../concurrency/term.ts";
import type { Surroundings } from "../member/companion.ts";
import type { Member } from "../member/member.ts";
import { onAbort, unlessAborted } from "../waiting.ts";
import type { Address } from "./address.ts";
import { LeaderAddresses } from "./leader-addresses.ts";

/** Who takes the traffic. */
export type Whereabout =
  /** This member leads, by a term that stands. */
  | { readonly at: "here"; readonly term: Term }
  | { readonly at: "there"; readonly leader: Candidate; readonly address: Address }
  /** Nobody that can be reached; `hopeless` where waiting does not help. */
  | {
      readonly at: "nowhere";
      readonly leader: Candidate | undefined;
      readonly reason: string;
      readonly hopeless: boolean;
    };

export interface WhereaboutsOptions {
  /** How long the successor of a member that has left is taken for the leader. */
  readonly lingerMs: number;
  /** Whether the leader's address is wanted: it costs a read of etcd. */
  readonly addresses: boolean;
}

/** How long a member that leaves waits to see who succeeds it. */
const successorMs = 1_000;

/**
 * Who leads and where, computed at the moment of asking. A member that has left knows its successor from the moment of
 * leaving, and goes by that for `lingerMs`.
 */
export class Whereabouts {
  readonly #member: Member;
  readonly #surroundings: Surroundings;
  readonly #addresses: LeaderAddresses;
  readonly #options: WhereaboutsOptions;
  readonly #listeners: Set<() => void> = new Set();
  readonly #forgets: (() => void)[] = [];
  #last: { readonly where: Whereabout; readonly until: number } | undefined;

  constructor(member: Member, surroundings: Surroundings, options: WhereaboutsOptions) {
    this.#member = member;
    this.#surroundings = surroundings;
    this.#options = options;
    this.#addresses = new LeaderAddresses(surroundings, () => this.#changed());
    this.#forgets.push(surroundings.line.subscribe(() => this.#changed()));
    void this.#followMember();
  }

  /** Calls `listener` whenever the answer may have changed. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  now(): Whereabout {
    const { term } = this.#member;
    if (term !== undefined) return { at: "here", term };
    if (this.#last === undefined) return this.#seen();
    const { where, until } = this.#last;
    if (this.#surroundings.etcd.clock.now() < until) return where;
    return { at: "nowhere", leader: undefined, reason: "this member has left", hopeless: true };
  }

  /** The member's key is gone: waits a little to see the successor, and keeps that. Never rejects. */
  async left(): Promise<void> {
    const { etcd, ownToken } = this.#surroundings;
    const late = new AbortController();
    const cancel = etcd.clock.at(etcd.clock.now() + successorMs, () => late.abort());
    const closed = onAbort(etcd.closedSignal, () => late.abort());
    const isOwn = (): boolean => {
      const { leader } = this.#surroundings.line;
      return leader !== undefined && leader.token === ownToken();
    };
    await unlessAborted(
      this.#until(() => !isOwn()),
      late.signal,
    ).catch(() => {});
    const { leader } = this.#surroundings.line;
    if (leader !== undefined && !isOwn() && this.#options.addresses) {
      await unlessAborted(this.#addresses.find(leader), late.signal).catch(() => {});
    }
    cancel();
    closed();
    const until = etcd.clock.now() + this.#options.lingerMs;
    const seen = this.#seen();
    this.#last = { where: seen.at === "nowhere" ? { ...seen, hopeless: true } : seen, until };
    for (const forget of this.#forgets) forget();
    this.#changed();
  }

  /** What the line shows. */
  #seen(): Whereabout {
    const { etcd, line, ownToken } = this.#surroundings;
    const nowhere = (reason: string, leader?: Candidate, hopeless = false): Whereabout => ({
      ...{ at: "nowhere", leader, reason, hopeless },
    });
    if (!line.synced || etcd.clock.now() - line.confirmedAt > line.trustMs)
      return nowhere("who leads is not known: etcd does not confirm it");
    const { leader } = line;
    if (leader === undefined) return nowhere("nobody leads");
    // Our own key, on which we do not lead yet, or not any more.
    if (leader.token === ownToken()) return nowhere("nobody leads yet");
    if (!this.#options.addresses) return nowhere(`${leader.id} leads`, leader);
    const address = this.#addresses.look(leader);
    if (address === "unusable")
      return nowhere(`${leader.id} leads and tells no usable address`, leader, true);
    if (address === undefined) return nowhere(`${leader.id} leads, its address is being looked up`, leader);
    return { at: "there", leader, address };
  }

  #changed(): void {
    // The first request to a new leader need not wait for its address; that of the next in line will be wanted, too.
    if (this.#last === undefined && this.#options.addresses) {
      for (const each of this.#surroundings.line.candidates.slice(0, 2)) {
        if (each.token !== this.#surroundings.ownToken()) this.#addresses.look(each);
      }
    }
    for (const listener of [...this.#listeners]) listener();
  }

  /** A member leads when its `prepare` is done, which no event of the line tells. Never rejects. */
  async #followMember(): Promise<void> {
    for await (const _change of this.#member.changes()) this.#changed();
  }

  #until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!holds()) return;
        forget();
        resolve();
      };
      const forget = this.onChange(look);
      look();
    });
  }
}
