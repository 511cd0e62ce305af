import type { Clock } from "../../clock.ts";
import type { CallOptions, Etcd } from "../../etcd/etcd.ts";
import { sleep } from "../../waiting.ts";
import { type Finding, ok } from "./finding.ts";

/** The instant at which a lease's remaining seconds became fewer: after `from`, not after `to`, by the local clock. */
interface Edge {
  readonly seconds: bigint;
  readonly from: number;
  readonly to: number;
}

/** By how much the local clock runs faster than etcd's, as a share: between these two. */
export interface ClockRate {
  readonly least: number;
  readonly most: number;
}

/** Members stop 2 % of a TTL before it ends: of that half may be lost to the clock. */
const tolerable = 0.01;
const margin = 0.02;
/** etcd's own scan, and a busy machine, are no clock. */
const pollMs = 10;
const earlyMs = 150;

/**
 * Compares the running of two clocks, not what they show: how long this one counts while a lease of etcd's loses so many
 * seconds. `undefined` where it could not be measured, as when the raft leader changed.
 */
export async function measureClockRate(
  etcd: Etcd,
  leaseId: bigint,
  seconds: number,
  limits: CallOptions,
): Promise<ClockRate | undefined> {
  const first = await nextEdge(etcd, leaseId, limits);
  if (first === undefined) return undefined;
  await sleep(etcd.clock, seconds * 1_000 - earlyMs - pollMs, limits.signal);
  const last = await nextEdge(etcd, leaseId, limits);
  return last === undefined ? undefined : clockRate(first, last);
}

/** The rate by two edges. Pure. */
export function clockRate(first: Edge, last: Edge): ClockRate | undefined {
  const passed = Number(first.seconds - last.seconds) * 1_000;
  if (passed <= 0) return undefined;
  return { least: (last.from - first.to) / passed - 1, most: (last.to - first.from) / passed - 1 };
}

/** Asks until a second has gone by; `undefined` if the lease is gone or got longer. */
async function nextEdge(etcd: Etcd, leaseId: bigint, limits: CallOptions): Promise<Edge | undefined> {
  const { clock } = etcd;
  let before = await look(etcd, leaseId, clock, limits);
  while (true) {
    await sleep(clock, pollMs, limits.signal);
    const now = await look(etcd, leaseId, clock, limits);
    if (now.seconds < 0n || now.seconds > before.seconds) return undefined;
    if (now.seconds < before.seconds)
      return { seconds: now.seconds, from: before.sentAt, to: now.answeredAt };
    before = now;
  }
}

async function look(
  etcd: Etcd,
  leaseId: bigint,
  clock: Clock,
  limits: CallOptions,
): Promise<{ readonly seconds: bigint; readonly sentAt: number; readonly answeredAt: number }> {
  const sentAt = clock.now();
  const { TTL: seconds } = await etcd.leaseTimeToLive(leaseId, limits);
  return { seconds, sentAt, answeredAt: clock.now() };
}

/** Whether the clocks run alike enough for a deadline. */
export function judgeClockRate(rate: ClockRate | undefined, seconds: number): readonly Finding[] {
  const check = "clock";
  if (rate === undefined) {
    const what = "its running could not be compared with etcd's: the lease ended, or the raft leader changed";
    return [{ level: "advice", check, what, todo: "try again" }];
  }
  const { least, most } = rate;
  const shown = `${percent(least)} to ${percent(most)} against etcd's, over ${seconds} s`;
  // What is certain: the nearer end.
  const surely = least > 0 ? least : most < 0 ? -most : 0;
  const todo =
    "see what the clock of this machine or of the raft leader's is driven by; a slow virtual machine is one";
  if (surely > margin) {
    const what = `it runs at another rate: ${shown}; deadlines have a margin of 2 %`;
    return [{ level: "problem", check, what, todo }];
  }
  if (surely > tolerable)
    return [{ level: "warning", check, what: `it runs at another rate: ${shown}`, todo }];
  return [ok(check, `it runs as fast as etcd's, as far as that can be seen: ${shown}`)];
}

function percent(share: number): string {
  return `${share < 0 ? "-" : "+"}${Math.abs(share * 100).toFixed(2)} %`;
}
