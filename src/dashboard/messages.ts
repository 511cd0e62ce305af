/**
 * What the server tells the page, as JSON: the names of the events of its stream, and their data. Tokens and revisions are
 * numbers, instants ISO dates, durations milliseconds.
 */
export interface Messages {
  /** The first of a stream. */
  readonly hello: HelloMessage;
  /** All elections in short; again at each change. */
  readonly elections: ElectionsMessage;
  /** The election that the stream was opened for; again at each change. */
  readonly overview: OverviewMessage;
  /** What is left of the leases in it. */
  readonly leases: LeasesMessage;
  /** Whether etcd answers; every few seconds, so that a connection that is silent for longer is known to be dead. */
  readonly beat: BeatMessage;
}

export interface HelloMessage {
  /** The server's version: a page of another one loads itself again. */
  readonly version: string;
  /** Whether it takes commands from who knows the token. */
  readonly steering: boolean;
}

export interface ElectionsMessage {
  readonly elections: readonly ElectionSummary[];
  /** How many more there are than can be shown. */
  readonly more: number;
  /** Why it cannot be found out which there are. */
  readonly problem?: string;
}

export interface ElectionSummary {
  readonly election: string;
  /** Whether it has been read at all; what follows says nothing before. */
  readonly read: boolean;
  readonly leader: string | null;
  readonly candidates: number;
  readonly paused: boolean;
  /** Why it cannot be read. */
  readonly problem?: string;
}

export interface OverviewMessage {
  readonly election: string;
  /** The first of the line. */
  readonly leader: Candidate | null;
  readonly line: readonly Candidate[];
  /** Members that never lead, and so stand in no line. */
  readonly witnesses: readonly Witness[];
  readonly pause: Pause | null;
  /** A handover that was asked for and is not done. */
  readonly handover: PendingHandover | null;
  readonly history: readonly PastTerm[];
  /** `false` where the line alone may be read: what members tell, pauses and past terms are missing then. */
  readonly complete: boolean;
  readonly revision: number;
  /** When it became so, by the server's clock. */
  readonly time: string;
}

export interface Candidate {
  readonly id: string;
  readonly key: string;
  readonly token: number;
  readonly leaseId: string;
  readonly address?: string;
  readonly zone?: string;
  readonly priority?: number;
  readonly version?: string;
  readonly healthy?: boolean;
  /** When the process came up. */
  readonly startedAt?: string;
  /** Whether it is a member of Succession; else a Go program, etcdctl, or a member without rights. */
  readonly isMember: boolean;
  /** Whether it is giving the lead up by its own will. */
  readonly draining?: boolean;
}

export interface Witness {
  readonly id: string;
  readonly address?: string;
  readonly zone?: string;
  readonly version?: string;
}

export interface PendingHandover {
  /** The id or key of the candidate that is to lead; missing for the next in line. */
  readonly to?: string;
  readonly by?: string;
  /** Whether the leader has agreed, and is stopping its work. */
  readonly accepted: boolean;
}

export interface Pause {
  readonly reason: string;
  readonly since?: string;
  readonly by?: string;
  /** Whether it ends by itself. */
  readonly ends: boolean;
}

/** A term that has ended, or the present one; the newest is the last. */
export interface PastTerm {
  readonly token: number;
  readonly leader: string;
  readonly zone?: string;
  readonly startedAt?: string;
  readonly endedAt?: string;
  readonly cause?: string;
  /** How long nobody led before it. */
  readonly gapMs?: number;
}

export interface LeasesMessage {
  readonly election: string;
  /** By key of the candidate; missing where it is not known. */
  readonly leases: Readonly<Record<string, Lease>>;
  /** Until the pause ends by itself. */
  readonly pauseMs?: number;
}

/** What is left of a lease, and what it is renewed to. */
export type Lease = readonly [remainingMs: number, ttlMs: number];

export interface BeatMessage {
  readonly time: string;
  /** How old the data are because etcd does not answer; missing while it does. */
  readonly awayMs?: number;
}

/** The body of an answer that is not a success. */
export interface Refusal {
  readonly error: {
    readonly code: string;
    readonly message: string;
    /** With `REFUSED`: which of the reasons of `refusalCodes`, where it is told. */
    readonly refusal?: string;
  };
}
