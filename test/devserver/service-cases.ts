import {
  AlarmRequest_AlarmAction as Action,
  AlarmType,
  Auth,
  Cluster,
  KV,
  Lease,
  Maintenance,
} from "../../src/etcd/gen/etcd_pb.ts";
import { Election } from "../../src/etcd/gen/v3election_pb.ts";
import { Lock } from "../../src/etcd/gen/v3lock_pb.ts";
import { bytes, type Case, refusal, type Transcript } from "./transcript.ts";

const { campaign, proclaim, leader, observe, resign } = Election.method;
const { lock, unlock } = Lock.method;
const { range, put, deleteRange } = KV.method;
const { leaseGrant, leaseRevoke } = Lease.method;

const name = bytes("el");
const value = (text: string) => ({ value: bytes(text) });
const members = { key: bytes("el/"), rangeEnd: bytes("el0") };

async function leases(t: Transcript, ...ids: bigint[]): Promise<void> {
  for (const ID of ids) await t.unary(leaseGrant, { ID, TTL: 60n });
}

export const serviceCases: readonly Case[] = [
  {
    title: "a campaign puts the candidate's key and waits for those before it",
    run: async (t) => {
      await leases(t, 0xa1n, 0xa2n, 0xa3n);
      await t.unary(leader, { name });
      const first = await t.unary(campaign, { name, lease: 0xa1n, ...value("one") });
      const second = t.client.unary(campaign, { name, lease: 0xa2n, ...value("two") });
      await untilCandidates(t, 2);
      await t.unary(leader, { name });
      await t.unary(campaign, { name, lease: 0xa1n, ...value("one again") });
      await t.unary(range, members);
      if (first?.leader === undefined) throw new Error("no leader");
      await t.unary(proclaim, { leader: first.leader, ...value("news") });
      await t.unary(resign, { leader: first.leader });
      t.note(await second);
      await t.unary(leader, { name });
      await t.unary(proclaim, { leader: first.leader, ...value("late") });
      await t.unary(resign, { leader: first.leader });
      await t.unary(leaseRevoke, { ID: 0xa2n });
      await t.unary(range, members);
      await t.unary(proclaim, value("nobody"));
      await t.unary(resign, {});
      await t.unary(campaign, { name, lease: 0xdeadn, ...value("without a lease") });
      for (const ID of [0xa1n, 0xa3n]) await t.unary(leaseRevoke, { ID });
    },
  },
  {
    title: "a campaign that is given up takes its key away",
    run: async (t) => {
      await leases(t, 0xb1n, 0xb2n);
      await t.unary(campaign, { name, lease: 0xb1n });
      const abort = new AbortController();
      const waiting = t.client.unary(campaign, { name, lease: 0xb2n }, abort.signal).catch(refusal);
      await untilCandidates(t, 2);
      abort.abort();
      t.note(await waiting);
      await untilCandidates(t, 1);
      await t.unary(range, members);
      for (const ID of [0xb1n, 0xb2n]) await t.unary(leaseRevoke, { ID });
    },
  },
  {
    title: "an observer hears of every leader and each of its values",
    run: async (t) => {
      await leases(t, 0xc1n, 0xc2n);
      await t.unary(campaign, { name, lease: 0xc1n, ...value("one") });
      const answers = t.client.subscribe(observe, { name });
      t.note((await answers.next()).kv);
      const second = t.client.unary(campaign, { name, lease: 0xc2n, ...value("two") });
      await untilCandidates(t, 2);
      await t.unary(put, { key: bytes("el/c1"), lease: 0xc1n, ...value("one anew") });
      t.note((await answers.next()).kv);
      await t.unary(leaseRevoke, { ID: 0xc1n });
      t.note((await answers.next()).kv);
      await second;
      await t.unary(leaseRevoke, { ID: 0xc2n });
      await leases(t, 0xc3n);
      await t.unary(campaign, { name, lease: 0xc3n, ...value("three") });
      t.note((await answers.next()).kv);
      answers.cancel();
      await t.unary(leaseRevoke, { ID: 0xc3n });
    },
  },
  {
    title: "a lock is held by one at a time",
    only: ["3.5"],
    run: async (t) => {
      await leases(t, 0xd1n, 0xd2n, 0xd3n);
      const held = await t.unary(lock, { name, lease: 0xd1n });
      await t.unary(lock, { name, lease: 0xd1n });
      const second = t.client.unary(lock, { name, lease: 0xd2n });
      await untilCandidates(t, 2);
      await t.unary(unlock, { key: held?.key ?? bytes("") });
      t.note(await second);
      const third = t.client.unary(lock, { name, lease: 0xd3n }).catch(refusal);
      await untilCandidates(t, 2);
      await t.unary(leaseRevoke, { ID: 0xd3n });
      await t.unary(leaseRevoke, { ID: 0xd2n });
      t.note(await third);
      await t.unary(range, members);
      await t.unary(unlock, {});
      await t.unary(lock, { name, lease: 0xdeadn });
      await t.unary(leaseRevoke, { ID: 0xd1n });
    },
  },
  {
    title: "a lock without a lease gets one",
    run: async (t) => {
      const { key } = await t.client.unary(lock, { name });
      t.note(/^el\/[0-9a-f]+$/.test(Buffer.from(key).toString()));
      await t.unary(unlock, { key });
    },
  },
  {
    title: "an alarm for space stops puts and grants, and nothing else",
    only: ["3.5"],
    run: async (t) => {
      await t.unary(leaseGrant, { ID: 5n, TTL: 60n });
      await t.unary(put, { key: bytes("s"), lease: 5n });
      const alarm = Maintenance.method.alarm;
      const { members: cluster } = await t.client.unary(Cluster.method.memberList, {});
      const memberId = cluster[0]?.ID ?? 0n;
      await t.unary(alarm, { action: Action.GET });
      await t.unary(alarm, { action: Action.ACTIVATE, memberId, alarm: AlarmType.NOSPACE });
      await t.unary(alarm, { action: Action.ACTIVATE, memberId, alarm: AlarmType.NOSPACE });
      await t.unary(alarm, { action: Action.GET });
      await t.unary(alarm, { action: Action.GET, alarm: AlarmType.CORRUPT });
      const op = { request: { case: "requestPut", value: { key: bytes("s") } } } as const;
      const read = { request: { case: "requestRange", value: { key: bytes("s") } } } as const;
      await t.unary(put, { key: bytes("s") });
      await t.unary(put, { key: bytes("s"), ignoreValue: true });
      await t.unary(KV.method.txn, { success: [op] });
      await t.unary(KV.method.txn, { failure: [op] });
      await t.unary(KV.method.txn, { success: [read] });
      await t.unary(leaseGrant, { ID: 6n, TTL: 60n });
      await t.unary(range, { key: bytes("s") });
      await t.unary(leaseRevoke, { ID: 5n });
      await t.unary(deleteRange, { key: bytes("s") });
      const { errors } = await t.client.unary(Maintenance.method.status, {});
      t.note(errors.map((error) => error.replace(String(memberId), "ID")));
      await t.unary(alarm, { action: Action.DEACTIVATE, memberId, alarm: AlarmType.NOSPACE });
      await t.unary(alarm, { action: Action.DEACTIVATE, memberId, alarm: AlarmType.NOSPACE });
      await t.unary(alarm, { action: Action.GET });
      await t.unary(put, { key: bytes("s") });
      await t.unary(deleteRange, { key: bytes("s") });
    },
  },
  {
    title: "there is no authentication",
    run: async (t) => {
      await t.unary(Auth.method.authenticate, { name: "root", password: "root" });
    },
  },
  {
    title: "one member, which leads",
    run: async (t) => {
      const status = await t.client.unary(Maintenance.method.status, {});
      const { members: cluster } = await t.client.unary(Cluster.method.memberList, { linearizable: true });
      const { clusterId = 0n, memberId, raftTerm = 0n } = status.header ?? {};
      t.note([
        cluster.length,
        cluster[0]?.ID === memberId,
        cluster[0]?.clientUrls.length,
        cluster[0]?.isLearner,
        status.leader === memberId,
        clusterId > 0n,
        raftTerm > 0n,
        status.raftTerm === raftTerm,
        status.raftIndex > 0n,
        status.dbSize > 0n,
        status.errors,
      ]);
    },
  },
];

/** Waits until so many keys stand in the line: they are put by requests that are still waiting. */
async function untilCandidates(t: Transcript, count: number): Promise<void> {
  for (;;) {
    const { kvs } = await t.client.unary(range, members);
    if (kvs.length === count) return;
  }
}
