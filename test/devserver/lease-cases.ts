import { KV, Lease } from "../../src/etcd/gen/etcd_pb.ts";
import { bytes, type Case, type Transcript } from "./transcript.ts";

const { leaseGrant, leaseRevoke, leaseTimeToLive, leaseLeases, leaseKeepAlive } = Lease.method;
const { range, put, deleteRange } = KV.method;

async function putWith(t: Transcript, lease: bigint, ...keys: string[]): Promise<void> {
  for (const key of keys) await t.unary(put, { key: bytes(key), lease });
}

export const leaseCases: readonly Case[] = [
  {
    title: "leases are granted with the id and the TTL asked for, within limits",
    run: async (t) => {
      for (const [ID, TTL] of [
        [1n, 60n],
        [1n, 60n],
        [2n, 1n],
        [3n, 0n],
        [4n, -7n],
        [5n, 9_000_000_000n],
        [6n, 9_000_000_001n],
        [1n, 9_000_000_001n],
        [-1n, 60n],
        [2n ** 63n - 1n, 60n],
      ] as const) {
        await t.unary(leaseGrant, { ID, TTL });
      }
      for (const ID of [1n, 2n, 3n, 4n, 5n, 6n, -1n, 2n ** 63n - 1n]) await t.unary(leaseRevoke, { ID });
    },
  },
  {
    title: "a lease without an id gets a positive one of its own",
    run: async (t) => {
      const first = await t.client.unary(leaseGrant, { TTL: 60n });
      const second = await t.client.unary(leaseGrant, { TTL: 60n });
      t.note([first.ID > 0n, second.ID > 0n, first.ID !== second.ID, first.TTL, first.error]);
      for (const { ID } of [first, second]) await t.unary(leaseRevoke, { ID });
    },
  },
  {
    title: "a revoked lease takes its keys with it in one revision",
    run: async (t) => {
      await t.unary(leaseGrant, { ID: 10n, TTL: 60n });
      await t.unary(leaseGrant, { ID: 11n, TTL: 60n });
      await putWith(t, 10n, "l/c", "l/a", "l/b", "l/moved", "l/freed", "l/deleted");
      await putWith(t, 11n, "l/moved");
      await putWith(t, 0n, "l/freed");
      await t.unary(deleteRange, { key: bytes("l/deleted") });
      const alive = await t.client.unary(leaseTimeToLive, { ID: 10n, keys: true });
      t.note({ ttl: alive.grantedTtl, keys: alive.keys.map((key) => Buffer.from(key).toString()).sort() });
      t.note((await t.client.unary(leaseTimeToLive, { ID: 10n })).keys);
      await t.unary(leaseRevoke, { ID: 10n });
      await t.unary(range, { key: bytes("l/"), rangeEnd: bytes("l0") });
      await t.unary(leaseRevoke, { ID: 10n });
      await t.unary(leaseTimeToLive, { ID: 10n, keys: true });
      await t.unary(leaseTimeToLive, { ID: 0n });
      await t.unary(leaseRevoke, { ID: 0n });
      await putWith(t, 10n, "l/late");
      await t.unary(leaseRevoke, { ID: 11n });
      await t.unary(deleteRange, { key: bytes("l/freed") });
    },
  },
  {
    title: "a lease that holds nothing ends without a revision",
    run: async (t) => {
      await t.unary(leaseGrant, { ID: 20n, TTL: 60n });
      await t.unary(leaseRevoke, { ID: 20n });
    },
  },
  {
    title: "leases are listed by their end",
    run: async (t) => {
      await t.unary(leaseGrant, { ID: 31n, TTL: 600n });
      await t.unary(leaseGrant, { ID: 32n, TTL: 60n });
      await t.unary(leaseGrant, { ID: 33n, TTL: 6_000n });
      await t.unary(leaseLeases, {});
      for (const ID of [31n, 32n, 33n]) await t.unary(leaseRevoke, { ID });
      await t.unary(leaseLeases, {});
    },
  },
  {
    title: "a keepalive answers with the TTL, and with 0 for a lease that is gone",
    run: async (t) => {
      await t.unary(leaseGrant, { ID: 40n, TTL: 60n });
      await t.unary(leaseGrant, { ID: 41n, TTL: 1n });
      const stream = t.client.stream(leaseKeepAlive);
      for (const ID of [40n, 41n, 42n, 40n, 0n]) {
        stream.send({ ID });
        await t.next(stream);
      }
      await t.unary(leaseRevoke, { ID: 40n });
      stream.send({ ID: 40n });
      await t.next(stream);
      await t.unary(leaseRevoke, { ID: 41n });
      stream.end();
      t.note(await stream.answers.next().catch((error: Error) => error.message));
    },
  },
];
