import type { CallOptions, Etcd } from "../../etcd/etcd.ts";
import { AlarmType, Maintenance, type StatusResponse } from "../../etcd/gen/etcd_pb.ts";
import { oneLine } from "../one-line.ts";
import type { AlarmSeen } from "./alarms.ts";
import type { EndpointSeen, EndpointStatus, MemberSeen } from "./endpoints.ts";
import type { EndpointTimes } from "./timing.ts";

/** Enough for a median, and soon over. */
const roundTrips = 5;
const commits = 3;
/** What is granted lives no longer if it cannot be given back. */
const leaseSeconds = 60;

/** Leases that cannot be given back in this time end by themselves. */
export const giveBackMs = 2_000;

const alarmNames: ReadonlyMap<number, string> = new Map(
  Object.entries(AlarmType).map(([name, alarm]) => [alarm, name]),
);

/** Asks a client of one endpoint how that is. Never rejects but by the signal. */
export async function readEndpoint(etcd: Etcd, limits: CallOptions): Promise<EndpointSeen> {
  const name = etcd.endpoints[0] as string;
  try {
    return { name, status: statusOf(await etcd.status(name, limits)) };
  } catch (error) {
    limits.signal?.throwIfAborted();
    return { name, error: oneLine(error) };
  }
}

function statusOf(answer: StatusResponse): EndpointStatus {
  const { version, leader, raftTerm, raftIndex, raftAppliedIndex, isLearner, dbSize, errors, header } =
    answer;
  return {
    ...{ version, leader, raftTerm, raftIndex, raftAppliedIndex, isLearner, errors },
    ...{ memberId: header?.memberId ?? 0n, clusterId: header?.clusterId ?? 0n, dbSizeBytes: dbSize },
  };
}

/**
 * Times requests to one endpoint: those that it answers by itself, and grants of leases, which need no right to any key.
 * Never rejects but by the signal: what failed has no times.
 */
export async function readTimes(etcd: Etcd, limits: CallOptions): Promise<EndpointTimes> {
  const name = etcd.endpoints[0] as string;
  let failure: string | undefined;
  const timed = async (count: number, task: () => Promise<unknown>): Promise<number[]> => {
    const times: number[] = [];
    for (let at = 0; at < count; at++) {
      const startedAt = etcd.clock.now();
      try {
        await task();
      } catch (error) {
        limits.signal?.throwIfAborted();
        failure = oneLine(error);
        return times;
      }
      times.push(etcd.clock.now() - startedAt);
    }
    return times;
  };
  const granted: bigint[] = [];
  try {
    const seen = {
      name,
      roundTrips: await timed(roundTrips, () => etcd.status(name, limits)),
      commits: await timed(commits, async () => {
        granted.push((await etcd.leaseGrant(leaseSeconds, limits)).ID);
      }),
    };
    return { ...seen, ...(failure === undefined ? {} : { error: failure }) };
  } finally {
    // Also when told to stop.
    const brief = { timeoutMs: giveBackMs };
    await Promise.all(granted.map((leaseId) => etcd.leaseRevoke(leaseId, brief).catch(() => {})));
  }
}

/** The shortest TTL that etcd grants, in seconds, or why it grants none. */
export async function readLeastTtl(etcd: Etcd, limits: CallOptions): Promise<number | string> {
  try {
    const { ID, TTL } = await etcd.leaseGrant(1, limits);
    await etcd.leaseRevoke(ID, { timeoutMs: giveBackMs }).catch(() => {});
    return Number(TTL);
  } catch (error) {
    limits.signal?.throwIfAborted();
    return oneLine(error);
  }
}

/** The members by the cluster's own list; `undefined` where that is not told. */
export async function readMembers(
  etcd: Etcd,
  limits: CallOptions,
): Promise<readonly MemberSeen[] | undefined> {
  try {
    const { members } = await etcd.memberList(limits);
    return members.map(({ ID, name, clientUrls, isLearner }) => ({ id: ID, name, clientUrls, isLearner }));
  } catch {
    limits.signal?.throwIfAborted();
    return undefined;
  }
}

/** The alarms; `undefined` where they are not told. */
export async function readAlarms(etcd: Etcd, limits: CallOptions): Promise<readonly AlarmSeen[] | undefined> {
  try {
    const options = { ...limits, idempotent: true };
    const { response } = await etcd.call(Maintenance.method.alarm, {}, options);
    return response.alarms.map(({ alarm, memberId }) => ({
      ...{ alarm: alarmNames.get(alarm) ?? `alarm ${alarm}`, at: `member ${memberId.toString(16)}` },
    }));
  } catch {
    limits.signal?.throwIfAborted();
    return undefined;
  }
}
