import { WatchCreateRequest_FilterType as Filter, KV, Lease, Watch } from "../../src/etcd/gen/etcd_pb.ts";
import { bytes, type Case, type Transcript } from "./transcript.ts";

const { put, deleteRange, txn, compact } = KV.method;
const { watch } = Watch.method;

const createRequest = (value: object) => ({ requestUnion: { case: "createRequest", value } }) as const;
const cancelRequest = (watchId: bigint) =>
  ({ requestUnion: { case: "cancelRequest", value: { watchId } } }) as const;
const progressRequest = { requestUnion: { case: "progressRequest", value: {} } } as const;
const prefix = (text: string) => ({
  key: bytes(`${text}/`),
  rangeEnd: bytes(`${text}0`),
});

const puts = async (t: Transcript, ...keys: string[]): Promise<void> => {
  for (const key of keys) await t.unary(put, { key: bytes(key), value: bytes("v") });
};

export const watchCases: readonly Case[] = [
  {
    title: "a watch tells of puts and deletions from its creation on",
    run: async (t) => {
      await puts(t, "a/x");
      const stream = t.client.stream(watch);
      stream.send(createRequest(prefix("a")));
      await t.next(stream);
      await puts(t, "a/x", "b", "a/y");
      await t.next(stream);
      await t.next(stream);
      await t.unary(deleteRange, prefix("a"));
      await t.next(stream);
      await t.unary(txn, {
        success: ["a/2", "c", "a/1"].map((key) => ({
          request: { case: "requestPut" as const, value: { key: bytes(key) } },
        })),
      });
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "a watch from the past catches up",
    run: async (t) => {
      await puts(t, "p/x", "p/y", "q", "p/x");
      await t.unary(deleteRange, { key: bytes("p/y") });
      const stream = t.client.stream(watch);
      stream.send(createRequest({ ...prefix("p"), startRevision: t.base + 2n, prevKv: true }));
      await t.next(stream);
      await t.next(stream);
      await puts(t, "p/z", "p/z");
      await t.next(stream);
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "a watch from the future is silent until then",
    run: async (t) => {
      const stream = t.client.stream(watch);
      stream.send(createRequest({ ...prefix("f"), startRevision: t.base + 3n }));
      await t.next(stream);
      await puts(t, "f/1", "f/2", "f/3", "f/4");
      await t.next(stream);
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "a watch may leave out puts or deletions",
    run: async (t) => {
      const stream = t.client.stream(watch);
      stream.send(createRequest({ ...prefix("g"), filters: [Filter.NOPUT], watchId: 1n }));
      await t.next(stream);
      await puts(t, "g/1");
      await t.unary(deleteRange, { key: bytes("g/1") });
      await t.next(stream);
      stream.send(cancelRequest(1n));
      await t.next(stream);
      stream.send(createRequest({ ...prefix("g"), filters: [Filter.NODELETE] }));
      await t.next(stream);
      await puts(t, "g/2");
      await t.next(stream);
      await t.unary(deleteRange, { key: bytes("g/2") });
      await puts(t, "g/3");
      await t.next(stream);
      stream.send(
        createRequest({ ...prefix("g"), filters: [Filter.NODELETE, Filter.NOPUT], startRevision: 1n }),
      );
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "watch ids are the server's or the client's",
    run: async (t) => {
      const stream = t.client.stream(watch);
      for (const watchId of [0n, 1n, 0n, 0n, 7n, 7n, -1n, -5n]) {
        stream.send(createRequest({ ...prefix("i"), watchId }));
        await t.next(stream);
      }
      stream.send(cancelRequest(2n));
      await t.next(stream);
      stream.send(cancelRequest(2n));
      stream.send(cancelRequest(99n));
      stream.send(createRequest({ ...prefix("i") }));
      await t.next(stream);
      stream.send(createRequest({ ...prefix("i"), watchId: 2n }));
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "a watch needs a range that is not empty",
    run: async (t) => {
      const stream = t.client.stream(watch);
      for (const keys of [
        { key: bytes("b"), rangeEnd: bytes("a") },
        { key: bytes("b"), rangeEnd: bytes("b") },
        { key: bytes(""), rangeEnd: bytes("\0"), watchId: 5n },
        { key: bytes("zz"), rangeEnd: bytes("\0") },
        { key: bytes("") },
      ]) {
        stream.send(createRequest(keys));
        await t.next(stream);
      }
      await puts(t, "zy");
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "a watch from a compacted revision is created and ends at once",
    run: async (t) => {
      await puts(t, "c/1", "c/2", "c/3", "c/2");
      await t.unary(compact, { revision: t.base + 3n });
      const stream = t.client.stream(watch);
      stream.send(createRequest({ ...prefix("c"), startRevision: t.base + 2n }));
      await t.next(stream);
      await t.next(stream);
      stream.send(createRequest({ ...prefix("c"), startRevision: t.base + 3n, prevKv: true }));
      await t.next(stream);
      await t.next(stream);
      stream.send(createRequest({ ...prefix("c"), startRevision: t.base + 4n, prevKv: true }));
      await t.next(stream);
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "a deletion at the compacted revision is still told",
    only: ["3.5"],
    run: async (t) => {
      await puts(t, "e/1", "e/2");
      await t.unary(deleteRange, { key: bytes("e/1") });
      await puts(t, "e/3");
      await t.unary(compact, { revision: t.base + 3n, physical: true });
      const stream = t.client.stream(watch);
      stream.send(createRequest({ ...prefix("e"), startRevision: t.base + 3n }));
      await t.next(stream);
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "a lease that ends is one event for each key, in one answer",
    run: async (t) => {
      await t.unary(Lease.method.leaseGrant, { ID: 77n, TTL: 60n });
      const stream = t.client.stream(watch);
      stream.send(createRequest({ ...prefix("h"), prevKv: true }));
      await t.next(stream);
      for (const key of ["h/2", "h/1", "h/3"]) {
        await t.unary(put, { key: bytes(key), lease: 77n });
        await t.next(stream);
      }
      await t.unary(Lease.method.leaseRevoke, { ID: 77n });
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "progress is told on request, once for the stream",
    only: ["3.5"],
    run: async (t) => {
      const stream = t.client.stream(watch);
      stream.send(progressRequest);
      stream.send(createRequest(prefix("j")));
      await t.next(stream);
      stream.send(progressRequest);
      await t.next(stream);
      stream.send(createRequest(prefix("j")));
      await t.next(stream);
      await puts(t, "k");
      stream.send(progressRequest);
      await t.next(stream);
      stream.send(cancelRequest(0n));
      await t.next(stream);
      stream.send(cancelRequest(1n));
      await t.next(stream);
      stream.send(progressRequest);
      stream.send(createRequest(prefix("j")));
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "a stream goes on after its client has ended its side",
    run: async (t) => {
      const stream = t.client.stream(watch);
      stream.send(createRequest(prefix("m")));
      await t.next(stream);
      stream.end();
      await puts(t, "m/1");
      await t.next(stream);
      stream.cancel();
    },
  },
  {
    title: "big answers are split for those who ask",
    run: async (t) => {
      const value = new Uint8Array(700_000);
      for (const key of ["n/1", "n/2", "n/3", "n/4", "n/5"]) {
        await t.client.unary(put, { key: bytes(key), value });
      }
      for (const fragment of [true, false]) {
        const stream = t.client.stream(watch);
        stream.send(createRequest({ ...prefix("n"), startRevision: t.base + 1n, fragment }));
        await t.next(stream);
        for (let more = true; more; ) {
          const answer = await stream.answers.next();
          t.note({ fragment: answer.fragment, keys: answer.events.map((event) => event.kv?.key) });
          more = answer.fragment;
        }
        stream.cancel();
      }
      await t.unary(deleteRange, prefix("n"));
    },
  },
  {
    title: "a long past is told in answers of 1000 revisions",
    run: async (t) => {
      for (let round = 0; round < 11; round++) {
        await Promise.all(
          Array.from({ length: 100 }, () => t.client.unary(put, { key: bytes("s/1"), value: bytes("v") })),
        );
      }
      const stream = t.client.stream(watch);
      stream.send(createRequest({ ...prefix("s"), startRevision: t.base + 1n }));
      await t.next(stream);
      for (const _ of [1, 2]) {
        const { events, header } = await stream.answers.next();
        t.note({ count: events.length, last: { header } });
      }
      stream.cancel();
    },
  },
];
