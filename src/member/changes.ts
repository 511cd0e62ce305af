import type { Candidate } from "../concurrency/line.ts";
import type { Term } from "../concurrency/term.ts";
import type { Cause } from "../errors.ts";
import { Feed } from "../feed.ts";
import { onAbort } from "../waiting.ts";
import type { PhaseName } from "./phase.ts";

export type Role = "leader" | "standby";

/** A state of a member, as `changes` tells it. */
export interface MemberChange {
  readonly role: Role;
  readonly phase: PhaseName;
  /** How many candidates stand before this member while it waits. */
  readonly position: number | undefined;
  /** Who leads, if that is known. */
  readonly leader: Candidate | undefined;
  /** The own term while this member leads. */
  readonly term: Term | undefined;
  /** Why the last term or candidacy ended; `undefined` again when the next candidacy begins. */
  readonly cause: Cause | undefined;
  /** How many changes before this one a slow reader missed. */
  readonly skipped: number;
}

interface Reader {
  readonly feed: Feed<MemberChange>;
  last: MemberChange;
}

/** The states of a member for its readers: each is told every state that differs from the last one told to him. */
export class Changes {
  readonly #readers: Set<Reader> = new Set();
  #ended = false;

  tell(state: MemberChange): void {
    for (const reader of this.#readers) {
      if (same(reader.last, state)) continue;
      reader.last = state;
      reader.feed.push(state);
    }
  }

  /** Ends every reader's iteration after what waits for him. */
  end(): void {
    this.#ended = true;
    for (const { feed } of this.#readers) feed.end();
  }

  /** The present state, then every change. */
  async *read(
    present: () => MemberChange,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<MemberChange, void> {
    signal?.throwIfAborted();
    const reader: Reader = { feed: new Feed(), last: present() };
    const { feed } = reader;
    feed.push(reader.last);
    if (this.#ended) feed.end();
    this.#readers.add(reader);
    const forget = onAbort(signal, () => feed.end(signal?.reason));
    try {
      for await (const { value, skipped } of feed) yield skipped === 0 ? value : { ...value, skipped };
    } finally {
      forget();
      this.#readers.delete(reader);
    }
  }
}

function same(a: MemberChange, b: MemberChange): boolean {
  return (
    a.role === b.role &&
    a.phase === b.phase &&
    a.position === b.position &&
    a.cause === b.cause &&
    a.leader?.token === b.leader?.token &&
    a.leader?.revision === b.leader?.revision
  );
}
