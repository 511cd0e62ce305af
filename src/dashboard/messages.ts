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
}

export interface ElectionSummary {
  readonly election: string;
  readonly leader: string | null;
  readonly candidates: number;
  readonly paused: boolean;
}

export interface OverviewMessage {
  readonly election: string;
  /** The first of the line. */
  readonly leader: Candidate | null;
  readonly line: readonly Candidate[];
  readonly pause: Pause | null;
  readonly history: readonly PastTerm[];
  readonly revision: number;
  /** When the server sent it, by its clock. */
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
  readonly since?: string;
  readonly remainingMs?: number;
}

export interface Pause {
  readonly reason: string;
  readonly since?: string;
  readonly by?: string;
  /** Until it ends by itself; missing where it does not. */
  readonly remainingMs?: number;
}

/** A term that has ended, or the present one. */
export interface PastTerm {
  readonly token: number;
  readonly leader: string;
  readonly zone?: string;
  readonly startedAt: string;
  readonly endedAt?: string;
  readonly cause?: string;
  /** How long nobody led before it. */
  readonly gapMs?: number;
}

export interface LeasesMessage {
  readonly election: string;
  /** By key of the candidate. */
  readonly remainingMs: Readonly<Record<string, number>>;
}

export interface BeatMessage {
  readonly time: string;
  /** For how long etcd has not answered; missing while it does. */
  readonly awayMs?: number;
}

/** The body of an answer that is not a success. */
export interface Refusal {
  readonly error: { readonly code: string; readonly message: string };
}
