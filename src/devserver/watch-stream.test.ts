import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { WatchCreateRequestSchema, type WatchResponse } from "../etcd/gen/etcd_pb.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { Store, type StoreOptions } from "./store.ts";
import type { WatchStream } from "./watch-stream.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const all = { key: bytes("\0"), rangeEnd: bytes("\0") };

/** What a stream was told, in short: `put a` and `delete a` with their revisions. */
class Reader {
  readonly clock = new ManualClock();
  readonly store: Store;
  readonly stream: WatchStream;
  readonly answers: WatchResponse[] = [];
  onAnswer: (answer: WatchResponse) => void = () => {};

  constructor(options: StoreOptions = {}) {
    this.store = new Store({ clock: this.clock, ...options });
    const send = (answer: WatchResponse): void => {
      this.answers.push(answer);
      this.onAnswer(answer);
    };
    this.stream = this.store.watch({ send, end: () => {} });
  }

  watch(init: MessageInitShape<typeof WatchCreateRequestSchema>): void {
    this.stream.create(create(WatchCreateRequestSchema, init));
  }

  put(...keys: string[]): void {
    for (const key of keys) this.store.put({ key: bytes(key), value: bytes(key) });
  }

  /** The answers with events, one text each. */
  get told(): string[] {
    return this.answers
      .filter(({ events }) => events.length > 0)
      .map(({ watchId, events }) => `${watchId}: ${events.map(shown).join(", ")}`);
  }
}

function shown({ type, kv }: WatchResponse["events"][number]): string {
  return `${type === 0 ? "put" : "delete"} ${Buffer.from(kv?.key ?? []).toString()}@${kv?.modRevision}`;
}

test("events come at once, a whole revision in one answer, in the order of the operations", () => {
  const reader = new Reader();
  reader.watch(all);
  const put = (key: string) => ({ request: { case: "requestPut", value: { key: bytes(key) } } }) as const;
  reader.store.txn({ success: [put("b"), put("a")] });
  reader.store.deleteRange(all);
  expect(reader.told).toEqual(["0: put b@2, put a@2", "0: delete a@3, delete b@3"]);
});

test("each watch of a stream hears of its own keys", () => {
  const reader = new Reader();
  reader.watch({ key: bytes("a") });
  reader.watch({ key: bytes("b"), rangeEnd: bytes("d") });
  reader.put("a", "b", "c", "d");
  expect(reader.told).toEqual(["0: put a@2", "1: put b@3", "1: put c@4"]);
});

test("a watch from the past is caught up before it hears of anything new, and hears nothing twice", () => {
  const reader = new Reader();
  reader.put("a", "b", "c");
  reader.watch({ ...all, startRevision: 3n });
  reader.put("d");
  expect(reader.told).toEqual(["0: put b@3, put c@4", "0: put d@5"]);
});

test("a watch that is opened while events are delivered hears nothing twice", () => {
  const reader = new Reader();
  let opened = false;
  reader.onAnswer = ({ events }) => {
    if (events.length === 0 || opened) return;
    opened = true;
    reader.put("b");
    reader.watch({ ...all, startRevision: 2n });
  };
  reader.watch(all);
  reader.put("a");
  expect(reader.told).toEqual(["0: put a@2", "1: put a@2, put b@3", "0: put b@3"]);
});

test("a watch that is canceled while another is told hears nothing more", () => {
  const reader = new Reader();
  reader.onAnswer = ({ events }) => {
    if (events.length > 0) reader.stream.cancel(1n);
  };
  reader.watch(all);
  reader.watch(all);
  reader.put("a");
  expect(reader.told).toEqual(["0: put a@2"]);
  expect(reader.answers.at(-1)).toMatchObject({ watchId: 1n, canceled: true });
});

test("a closed stream is told nothing more", () => {
  const reader = new Reader();
  reader.watch(all);
  reader.stream.close();
  reader.put("a");
  expect(reader.told).toEqual([]);
});

test("a compacted start ends the watch and not the stream", () => {
  const reader = new Reader();
  reader.put("a", "b", "c");
  reader.store.compact({ revision: 3n });
  reader.watch({ ...all, startRevision: 2n });
  reader.watch({ ...all, startRevision: 3n });
  expect(reader.answers.slice(0, 2)).toMatchObject([
    { watchId: 0n, created: true, canceled: false },
    { watchId: 0n, created: false, canceled: true, compactRevision: 3n },
  ]);
  expect(reader.told).toEqual(["1: put b@3, put c@4"]);
});

test("a compaction does not touch a watch that is up to date", () => {
  const reader = new Reader();
  reader.watch(all);
  reader.put("a", "b");
  reader.store.compact({ revision: 3n });
  reader.put("c");
  expect(reader.told.at(-1)).toBe("0: put c@4");
});

test("former values are shown unless they were compacted", () => {
  const reader = new Reader();
  reader.put("a", "a", "a");
  reader.store.compact({ revision: 3n });
  reader.watch({ ...all, startRevision: 3n, prevKv: true });
  expect(reader.answers[1]?.events.map(({ prevKv }) => prevKv?.modRevision)).toEqual([undefined, 3n]);
});

test("a quiet watch is told of progress if it asked for that", async () => {
  const reader = new Reader({ progressIntervalMs: 1_000 });
  reader.watch({ key: bytes("a"), progressNotify: true });
  reader.watch({ key: bytes("a") });
  reader.put("elsewhere");
  const before = reader.answers.length;
  await reader.clock.advance(1_000);
  expect(reader.answers.slice(before)).toMatchObject([{ watchId: 0n, events: [], header: { revision: 2n } }]);
  // One that was told of an event has no need of it.
  reader.put("a");
  const after = reader.answers.length;
  await reader.clock.advance(1_000);
  expect(reader.answers).toHaveLength(after);
  await reader.clock.advance(1_000);
  expect(reader.answers).toHaveLength(after + 1);
  reader.stream.close();
  expect(reader.clock.pending).toBe(0);
});

test("big answers are split between events for those who ask, and can be put together again", () => {
  const reader = new Reader();
  const success = ["a", "b", "c"].map((key) => ({
    request: {
      case: "requestPut" as const,
      value: { key: bytes(key), value: new Uint8Array(500_000), ignoreLease: false },
    },
  }));
  reader.store.txn({ success });
  reader.store.txn({ success });
  reader.watch({ ...all, startRevision: 2n, fragment: true });
  expect(reader.told).toEqual(["0: put a@2, put b@2, put c@2, put a@3", "0: put b@3, put c@3"]);
  expect(reader.answers.slice(1).map(({ fragment }) => fragment)).toEqual([true, false]);
});
