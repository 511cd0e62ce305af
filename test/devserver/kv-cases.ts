import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  type CompareSchema,
  Compare_CompareResult as Is,
  KV,
  Lease,
  RangeRequest_SortOrder as Order,
  type RequestOpSchema,
  RangeRequest_SortTarget as Sort,
  Compare_CompareTarget as Target,
} from "../../src/etcd/gen/etcd_pb.ts";
import { bytes, type Case, refusal, type Transcript } from "./transcript.ts";

const { range, put, deleteRange, txn, compact } = KV.method;
const from = { rangeEnd: bytes("\0") };
const none = bytes("");

type Op = MessageInitShape<typeof RequestOpSchema>;
const putOp = (key: string, value = "v", more = {}): Op => ({
  request: { case: "requestPut", value: { key: bytes(key), value: bytes(value), ...more } },
});
const rangeOp = (key: string, more = {}): Op => ({
  request: { case: "requestRange", value: { key: bytes(key), ...more } },
});
const deleteOp = (key: string, rangeEnd = "", more = {}): Op => ({
  request: {
    case: "requestDeleteRange",
    value: { key: bytes(key), rangeEnd: bytes(rangeEnd), ...more },
  },
});
const txnOp = (value: object): Op => ({ request: { case: "requestTxn", value } });
const ops = (count: number): Op[] => Array.from({ length: count }, (_, index) => rangeOp(`n${index}`));

async function putAll(t: Transcript, ...pairs: (readonly [string, string])[]): Promise<void> {
  for (const [key, value] of pairs) await t.unary(put, { key: bytes(key), value: bytes(value) });
}

export const kvCases: readonly Case[] = [
  {
    title: "puts count versions, and show the former value on request",
    run: async (t) => {
      await t.unary(put, { key: bytes("p"), value: bytes("1"), prevKv: true });
      await t.unary(put, { key: bytes("p"), value: bytes("2"), prevKv: true });
      await t.unary(put, { key: bytes("p"), value: none });
      await t.unary(range, { key: bytes("p") });
      await t.unary(deleteRange, { key: bytes("p"), prevKv: true });
      await t.unary(deleteRange, { key: bytes("p"), prevKv: true });
      await t.unary(put, { key: bytes("p"), value: bytes("3"), prevKv: true });
      await t.unary(range, { key: bytes("p") });
    },
  },
  {
    title: "puts may keep the value or the lease",
    run: async (t) => {
      await t.unary(put, { key: bytes("i"), ignoreValue: true });
      await t.unary(put, { key: bytes("i"), ignoreLease: true, value: bytes("1") });
      await t.unary(Lease.method.leaseGrant, { ID: 901n, TTL: 60n });
      await t.unary(put, { key: bytes("i"), value: bytes("1"), lease: 901n });
      await t.unary(put, { key: bytes("i"), ignoreLease: true, value: bytes("2"), prevKv: true });
      await t.unary(range, { key: bytes("i") });
      await t.unary(put, { key: bytes("i"), ignoreValue: true });
      await t.unary(range, { key: bytes("i") });
      await t.unary(put, { key: bytes("i"), ignoreValue: true, value: bytes("x") });
      await t.unary(put, { key: bytes("i"), ignoreLease: true, lease: 901n });
      await t.unary(put, { key: bytes("i"), lease: 902n });
      await t.unary(Lease.method.leaseRevoke, { ID: 901n });
      await t.unary(range, { key: bytes("i") });
    },
  },
  {
    title: "a key is needed everywhere",
    run: async (t) => {
      await t.unary(range, {});
      await t.unary(range, { rangeEnd: bytes("z") });
      await t.unary(put, { value: bytes("v") });
      await t.unary(deleteRange, {});
      await t.unary(txn, { success: [putOp("")] });
      await t.unary(txn, { failure: [rangeOp("")] });
      await t.unary(txn, { compare: [{}] });
      await t.unary(txn, { success: [{}] });
      await t.unary(txn, {});
    },
  },
  {
    title: "ranges are sorted, filtered, cut and counted",
    run: async (t) => {
      await putAll(t, ["r/b", "1"], ["r/a", "3"], ["r/d", "2"], ["r/c", "0"], ["r/a", "4"], ["r/b", "5"]);
      await putAll(t, ["r/b", "6"], ["r0", "outside"], ["r", "outside"]);
      const key = bytes("r/");
      const rangeEnd = bytes("r0");
      for (const sortTarget of [Sort.KEY, Sort.CREATE, Sort.MOD, Sort.VALUE]) {
        for (const sortOrder of [Order.NONE, Order.ASCEND, Order.DESCEND]) {
          for (const limit of [0n, 1n, 3n, 4n, 9n]) {
            await t.unary(range, { key, rangeEnd, sortTarget, sortOrder, limit });
          }
        }
      }
      await t.unary(range, {
        key,
        rangeEnd,
        sortTarget: Sort.VERSION,
        sortOrder: Order.DESCEND,
        limit: 2n,
      });
      await t.unary(range, { key, rangeEnd, keysOnly: true, limit: 2n });
      await t.unary(range, { key, rangeEnd, countOnly: true });
      await t.unary(range, { key, rangeEnd, countOnly: true, limit: 1n });
      for (const step of [1n, 2n, 4n, 6n]) {
        const revision = t.base + step;
        await t.unary(range, { key, rangeEnd, revision });
        await t.unary(range, { key, rangeEnd, minModRevision: revision, limit: 1n });
        await t.unary(range, { key, rangeEnd, maxModRevision: revision });
        await t.unary(range, { key, rangeEnd, minCreateRevision: revision });
        await t.unary(range, { key, rangeEnd, maxCreateRevision: revision, countOnly: true });
        await t.unary(range, {
          key,
          rangeEnd,
          maxCreateRevision: revision,
          limit: 1n,
          sortTarget: Sort.CREATE,
          sortOrder: Order.DESCEND,
        });
      }
      await t.unary(range, { key, rangeEnd, limit: -1n });
      await t.unary(range, { key, rangeEnd, revision: -1n });
      await t.unary(range, { key, rangeEnd: bytes("r/") });
      await t.unary(range, { key, rangeEnd: bytes("a") });
      await t.unary(range, { key, ...from, limit: 3n });
      await t.unary(range, { key: bytes("\0"), ...from, countOnly: true });
      await t.unary(deleteRange, { key, rangeEnd, prevKv: true });
      await t.unary(deleteRange, { key: bytes("r"), ...from });
    },
  },
  {
    title: "keys are ordered by their bytes",
    run: async (t) => {
      await putAll(t, ["o/\xff", "1"], ["o/\x00", "2"], ["o/A", "3"], ["o/a", "4"], ["o/\x7f\x80", "5"]);
      await putAll(t, ["o/", "6"], ["o/\xc3\xa9", "7"]);
      await t.unary(range, { key: bytes("o/"), rangeEnd: bytes("o0") });
      await t.unary(deleteRange, { key: bytes("o/"), rangeEnd: bytes("o/\x80"), prevKv: true });
      await t.unary(deleteRange, { key: bytes("o/"), rangeEnd: bytes("o0"), prevKv: true });
    },
  },
  {
    title: "revisions in the future and compacted ones are refused",
    run: async (t) => {
      await putAll(t, ["c", "1"], ["c", "2"], ["c", "3"], ["d", "1"]);
      await t.unary(deleteRange, { key: bytes("d") });
      await putAll(t, ["c", "4"]);
      await t.unary(range, { key: bytes("c"), revision: t.base + 7n });
      await t.unary(compact, { revision: t.base + 7n });
      await t.unary(compact, { revision: t.base + 2n });
      await t.unary(compact, { revision: t.base + 2n });
      await t.unary(compact, { revision: t.base + 1n });
      for (const step of [1n, 2n, 3n, 4n, 5n, 6n]) {
        await t.unary(range, { key: bytes("c"), rangeEnd: bytes("e"), revision: t.base + step });
      }
      await t.unary(txn, { success: [rangeOp("c", { revision: t.base + 1n })] });
      await t.unary(txn, { success: [putOp("c"), rangeOp("c", { revision: t.base + 7n })] });
      await t.unary(txn, { success: [rangeOp("c", { revision: t.base + 2n })] });
      await t.unary(compact, { revision: t.base + 6n, physical: true });
      await t.unary(range, { key: bytes("c"), rangeEnd: bytes("e"), revision: t.base + 6n });
      await t.unary(range, { key: bytes("c"), rangeEnd: bytes("e"), revision: t.base + 5n });
      await t.unary(compact, { revision: -1n });
      await t.unary(compact, { revision: 0n });
    },
  },
  {
    title: "transactions compare every target with every operator",
    run: async (t) => {
      await t.unary(Lease.method.leaseGrant, { ID: 911n, TTL: 60n });
      await putAll(t, ["t/a", "m"], ["t/b", "m"]);
      await t.unary(put, { key: bytes("t/b"), value: bytes("m"), lease: 911n });
      const targets = [
        [Target.VERSION, [0n, 1n, 2n], "version"],
        [Target.CREATE, [0n, t.base + 1n, t.base + 9n], "createRevision"],
        [Target.MOD, [0n, t.base + 3n, t.base + 9n], "modRevision"],
        [Target.LEASE, [0n, 911n, 999n], "lease"],
        [Target.VALUE, ["", "m", "z"].map(bytes), "value"],
      ] as const;
      for (const [target, values, name] of targets) {
        for (const result of [Is.EQUAL, Is.GREATER, Is.LESS, Is.NOT_EQUAL]) {
          for (const value of values) {
            for (const keys of [{ key: "t/a" }, { key: "t/none" }, { key: "t/", rangeEnd: bytes("t0") }]) {
              const compare = {
                target,
                result,
                targetUnion: { case: name, value },
                ...keys,
                key: bytes(keys.key),
              };
              await t.unary(txn, { compare: [compare as MessageInitShape<typeof CompareSchema>] });
            }
          }
        }
      }
      // A value for another target, and none at all.
      const key = bytes("t/a");
      await t.unary(txn, {
        compare: [{ key, target: Target.MOD, targetUnion: { case: "version", value: t.base + 1n } }],
      });
      await t.unary(txn, { compare: [{ key, target: Target.VALUE }] });
      await t.unary(txn, {
        compare: [{ key: bytes("t/x"), target: Target.VALUE, result: Is.NOT_EQUAL }],
      });
      await t.unary(txn, {
        compare: [
          { key: bytes("t/empty"), rangeEnd: bytes("t/f"), target: Target.VERSION, result: Is.EQUAL },
        ],
      });
    },
  },
  {
    title: "a transaction makes one revision, and its ranges see its own writes",
    run: async (t) => {
      await putAll(t, ["w/a", "1"]);
      await t.unary(txn, {
        success: [
          rangeOp("w/", { rangeEnd: bytes("w0") }),
          deleteOp("w/none"),
          rangeOp("w/a"),
          putOp("w/b", "2", { prevKv: true }),
          rangeOp("w/", { rangeEnd: bytes("w0") }),
          rangeOp("w/", { rangeEnd: bytes("w0"), revision: t.base + 1n }),
          putOp("w/c", "3"),
          deleteOp("w/a", "", { prevKv: true }),
          rangeOp("w/", { rangeEnd: bytes("w0") }),
          deleteOp("w/none"),
        ],
      });
      await t.unary(range, { key: bytes("w/"), rangeEnd: bytes("w0") });
      await t.unary(txn, { success: [rangeOp("w/b")] });
      await t.unary(txn, { success: [deleteOp("w/none")] });
      await t.unary(txn, { success: [putOp("w/z", "", { ignoreValue: true })] });
      await t.unary(txn, { success: [putOp("w/y"), putOp("w/z", "", { lease: 4_711n })] });
      await t.unary(range, { key: bytes("w/y") });
      await t.unary(txn, { success: [putOp("w/b", "x", { ignoreValue: true })] });
      await t.unary(txn, { success: [putOp("w/b", "x", { ignoreLease: true, lease: 1n })] });
      await t.unary(txn, { success: [rangeOp("w/b", { revision: t.base + 99n })] });
    },
  },
  {
    title: "nested transactions compare before anything is written",
    run: async (t) => {
      const absent = (key: string) => ({ key: bytes(key), target: Target.VERSION });
      await t.unary(txn, {
        compare: [absent("x/a")],
        success: [
          putOp("x/a", "1"),
          txnOp({
            compare: [absent("x/a")],
            success: [
              putOp("x/b", "then"),
              rangeOp("x/", { rangeEnd: bytes("x0") }),
              txnOp({ failure: [putOp("x/c")] }),
            ],
            failure: [putOp("x/b", "else")],
          }),
          rangeOp("x/", { rangeEnd: bytes("x0") }),
        ],
      });
      await t.unary(txn, {
        success: [txnOp({ compare: [absent("x/a")], success: [putOp("x/d")], failure: [rangeOp("x/a")] })],
      });
      await t.unary(txn, { success: [txnOp({ success: [putOp("x/f", "", { lease: 55n })] }), putOp("x/e")] });
      await t.unary(range, { key: bytes("x/"), rangeEnd: bytes("x0") });
    },
  },
  {
    title: "a key is written once in a transaction",
    run: async (t) => {
      await t.unary(txn, { success: [putOp("k"), putOp("k")] });
      await t.unary(txn, { failure: [putOp("k"), deleteOp("k")] });
      await t.unary(txn, { success: [deleteOp("k"), putOp("k")] });
      await t.unary(txn, { success: [deleteOp("j", "l"), putOp("k")] });
      await t.unary(txn, { success: [deleteOp("j", "k"), putOp("k")] });
      await t.unary(txn, { success: [deleteOp("j", "\0"), putOp("k")] });
      await t.unary(txn, { success: [deleteOp("k"), deleteOp("k")] });
      await t.unary(txn, { success: [putOp("k"), txnOp({ success: [putOp("k")] })] });
      await t.unary(txn, { success: [putOp("k"), txnOp({ failure: [putOp("k")] })] });
      await t.unary(txn, { success: [txnOp({ success: [putOp("k")], failure: [putOp("k")] })] });
      await t.unary(txn, { success: [txnOp({ success: [putOp("k")], failure: [deleteOp("k")] })] });
      await t.unary(txn, {
        success: [txnOp({ success: [putOp("k")] }), txnOp({ success: [putOp("k")] })],
      });
      await t.unary(txn, {
        success: [txnOp({ success: [deleteOp("k")] }), txnOp({ success: [putOp("k")] })],
      });
      await t.unary(txn, {
        success: [txnOp({ success: [putOp("k")] }), txnOp({ success: [deleteOp("k")] })],
      });
      await t.unary(txn, { success: [deleteOp("k"), txnOp({ success: [putOp("k")] })] });
      await t.unary(txn, { success: [putOp("k"), txnOp({ success: [deleteOp("k")] })] });
      await t.unary(range, { key: bytes("k") });
    },
  },
  {
    title: "a transaction holds 128 operations on every path",
    run: async (t) => {
      await t.unary(txn, { success: ops(129) });
      await t.unary(txn, { failure: ops(129) });
      const compare = Array.from({ length: 129 }, () => ({ key: bytes("n") }));
      await t.unary(txn, { compare });
      const full = await t.client.unary(txn, {
        compare: compare.slice(1),
        success: ops(128),
        failure: ops(128),
      });
      t.note(full.responses.length);
      await t.unary(txn, { success: [...ops(64), txnOp({ success: ops(64) })] });
      await t.unary(txn, { success: [...ops(63), txnOp({ success: ops(65) })] });
      const nested = await t.client.unary(txn, { success: [...ops(63), txnOp({ success: ops(64) })] });
      t.note(nested.responses.length);
    },
  },
  {
    title: "requests have a largest size",
    run: async (t) => {
      // The border lies one byte earlier where the id of etcd's member is a big number.
      for (const size of [1_572_837, 1_572_840]) {
        const answer = t.client.unary(put, { key: bytes("big"), value: new Uint8Array(size) });
        t.note(await answer.then(() => "taken", refusal));
      }
      await t.unary(deleteRange, { key: bytes("big") });
      const value = new Uint8Array(800_000);
      const both = [putOp("big/a", "", { value }), putOp("big/b", "", { value })];
      await t.unary(txn, { success: both });
      await t.unary(txn, { failure: both });
      await t.unary(range, { key: bytes("big"), rangeEnd: bytes("bih") });
    },
  },
];
