import type { Candidate } from "../concurrency/line.ts";
import { leaseName } from "../concurrency/naming.ts";
import type { TermRecord } from "../member/term-record.ts";
import type { StandingPause } from "../steering/pause.ts";
import type { HandoverRequest } from "../steering/request.ts";
import type { Meta } from "./meta.ts";
import type { Told } from "./told.ts";

/** What an election looks like, at one revision. */
export interface Overview {
  readonly election: string;
  /** The first of the line. */
  readonly leader: Place | undefined;
  /** The candidates as they succeed each other, the leader first. */
  readonly line: readonly Place[];
  /** Members that stand in no line, by their id. */
  readonly witnesses: readonly Witness[];
  readonly pause: StandingPause | undefined;
  /** A handover that the present leader was asked for and has not refused. */
  readonly handover: HandoverRequest | undefined;
  /** Terms, the newest first: the present one, where its record is there already, and those before. */
  readonly terms: readonly TermRecord[];
  readonly revision: bigint;
  /**
   * `false` where etcd lets us read the line alone: what members tell, pause, handover and terms are missing then, and
   * that they are missing says nothing.
   */
  readonly complete: boolean;
}

/** A candidate, and what it tells about itself. */
export interface Place extends Omit<Told, "id" | "candidate"> {
  /** The value of its key as text. */
  readonly id: string;
  readonly key: string;
  /** The token of the term that it has or will have. */
  readonly token: bigint;
  /** 0 for a key without a lease. */
  readonly leaseId: bigint;
  /** Whether it is a member of Succession, by its details; else a Go program, etcdctl, or a member without rights. */
  readonly isMember: boolean;
}

/** A member that never leads. */
export interface Witness extends Omit<Told, "candidate"> {
  readonly id: string;
  readonly leaseId: bigint;
}

export interface OverviewParts {
  readonly election: string;
  readonly line: readonly Candidate[];
  /** `undefined` where it may not be read. */
  readonly meta: Meta | undefined;
  readonly mostTerms: number;
  readonly revision: bigint;
}

/** Puts it together. Pure. */
export function overviewOf({ election, line, meta, mostTerms, revision }: OverviewParts): Overview {
  const places = line.map((each) => placeOf(each, meta?.told.get(leaseName(each.leaseId))));
  const [leader] = places;
  const request = meta?.request;
  const pending = request?.token === leader?.token && request?.answer?.at !== "refused";
  return {
    ...{ election, leader, line: places, revision, complete: meta !== undefined },
    witnesses: meta === undefined ? [] : witnessesIn(meta, line),
    pause: meta?.pause,
    handover: pending ? request : undefined,
    terms: [...(meta?.terms.values() ?? [])].sort(newestFirst).slice(0, mostTerms),
  };
}

function placeOf({ id, key, token, leaseId }: Candidate, told: Told = {}): Place {
  const { id: name, candidate: _always, ...rest } = leaseId === 0n ? {} : told;
  return { ...rest, id, key, token, leaseId, isMember: name !== undefined };
}

function witnessesIn(meta: Meta, line: readonly Candidate[]): readonly Witness[] {
  const standing = new Set(line.map(({ leaseId }) => leaseName(leaseId)));
  const witnesses = [...meta.told].flatMap(([name, { candidate, id, ...rest }]) =>
    candidate === false && id !== undefined && !standing.has(name) && /^[0-9a-f]{1,16}$/.test(name)
      ? [{ ...rest, id, leaseId: BigInt(`0x${name}`) }]
      : [],
  );
  return witnesses.sort((a, b) => (a.id < b.id ? -1 : 1));
}

function newestFirst(a: TermRecord, b: TermRecord): number {
  return a.token > b.token ? -1 : 1;
}
