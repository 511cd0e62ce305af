import { realEtcds } from "../support/etcd-binaries.ts";
import { EtcdCluster, type EtcdClusterOptions } from "../support/etcd-server.ts";

const { CHAOS_FULL: full, CHAOS_ROUNDS: rounds } = process.env;

/** Whether every fault is made to every position on every cluster. */
export const isFull: boolean = full === "1";

/** How many rounds a test of rounds plays: as asked for, else few. */
export const roundsOr = (few: number): number => (rounds === undefined ? few : Number(rounds));

/** Where a member stands in line when the fault strikes it. */
const positions = ["leader", "first waiter", "later waiter"] as const;
export type Position = (typeof positions)[number];

/** A real etcd of a release line and a size. */
export interface Stage {
  readonly members: number;
  start(extra?: Partial<EtcdClusterOptions>): Promise<EtcdCluster>;
}

const sizes: readonly { readonly version: string; readonly members: number }[] = [
  { version: "3.5", members: 3 },
  { version: "3.4", members: 1 },
  ...(isFull
    ? [
        { version: "3.5", members: 1 },
        { version: "3.4", members: 3 },
      ]
    : []),
];

/** The clusters of this run: 3.5 with three members and 3.4 with one; in full, both with both. */
export const stages: readonly (readonly [title: string, stage: Stage])[] = sizes.flatMap(
  ({ version, members }) => {
    const binary = realEtcds.find((each) => each.version === version);
    if (binary === undefined) return [];
    const title = `etcd ${version}, ${members === 1 ? "one member" : `${members} members`}`;
    return [[title, { members, start: (extra = {}) => EtcdCluster.start({ binary, members, ...extra }) }]];
  },
);

/** Each fault with the positions that it is played at, one or all in a full run: title, fault, place in line. */
export function cast<F extends { readonly name: string; readonly position?: Position }>(
  faults: readonly F[],
): readonly (readonly [title: string, fault: F, at: number])[] {
  return faults.flatMap((fault) =>
    positions
      .map((position, at) => [`${fault.name}, the ${position}`, fault, at] as const)
      .filter((_played, at) => isFull || positions[at] === (fault.position ?? "leader")),
  );
}
