import fc from "fast-check";
import { expect, test } from "vitest";
import { keyRange, keyText } from "./key-range.ts";
import { Mvcc } from "./mvcc.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

type Step =
  | { readonly do: "put"; readonly key: string; readonly value: string }
  | { readonly do: "delete"; readonly from: string; readonly to: string }
  | { readonly do: "compact"; readonly back: number };

const key = fc.constantFrom("a", "ab", "b", "b\0", "c", "z");
const steps = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant("put" as const), key, value: fc.string({ maxLength: 2 }) }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("delete" as const), from: key, to: key }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("compact" as const), back: fc.nat(4) }) },
  ),
  { maxLength: 40 },
);

/** Every state since the beginning, kept whole: slow, and plain enough to be believed. */
class Model {
  readonly states: ReadonlyMap<string, string>[] = [new Map()];

  apply(step: Step): void {
    const now = new Map(this.states.at(-1));
    if (step.do === "put") now.set(step.key, step.value);
    if (step.do === "delete") {
      const gone = [...now.keys()].filter((one) => one >= step.from && one < step.to);
      if (gone.length === 0) return;
      for (const one of gone) now.delete(one);
    }
    if (step.do !== "compact") this.states.push(now);
  }
}

function apply(store: Mvcc, step: Step): void {
  const write = store.write();
  if (step.do === "put") write.put(bytes(step.key), bytes(step.value), 0n);
  if (step.do === "delete") write.deleteRange(keyRange(bytes(step.from), bytes(step.to)));
  write.commit();
  const revision = store.revision - BigInt(step.do === "compact" ? step.back : 0);
  if (step.do === "compact" && revision > store.compactRevision && revision > 0n) store.compact(revision);
}

const everything = keyRange(bytes("\0"), bytes("\0"));
const read = (store: Mvcc, revision: bigint): [string, string][] =>
  store.read(everything, revision).map((one) => [keyText(one.key), keyText(one.value)]);
const sorted = (state: ReadonlyMap<string, string> | undefined): [string, string][] =>
  [...(state ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));

test("every revision that is not compacted reads as it was", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const store = new Mvcc(1n);
      const model = new Model();
      for (const step of all) {
        apply(store, step);
        model.apply(step);
      }
      expect(store.revision).toBe(BigInt(model.states.length));
      const oldest = store.compactRevision > 1n ? store.compactRevision : 1n;
      for (let revision = oldest; revision <= store.revision; revision++) {
        expect(read(store, revision)).toEqual(sorted(model.states[Number(revision) - 1]));
      }
    }),
  );
});

test("the changes since a revision lead from the state before it to the present one", () => {
  fc.assert(
    fc.property(steps, fc.nat(40), (all, back) => {
      const store = new Mvcc(1n);
      const model = new Model();
      for (const step of all) {
        apply(store, step);
        model.apply(step);
      }
      const oldest = store.compactRevision > 1n ? store.compactRevision : 1n;
      const from = store.revision - BigInt(back) > oldest ? store.revision - BigInt(back) : oldest;
      const state = new Map(model.states[Number(from) - 1]);
      for (const { text, now } of store.changesSince(from + 1n)) {
        if (now.version === 0n) state.delete(text);
        else state.set(text, keyText(now.value));
      }
      expect(sorted(state)).toEqual(sorted(model.states.at(-1)));
    }),
  );
});

test("a snapshot restores the whole history, whatever happened since", () => {
  fc.assert(
    fc.property(steps, steps, (before, after) => {
      const store = new Mvcc(1n);
      for (const step of before) apply(store, step);
      const snapshot = store.snapshot();
      const { revision, compactRevision } = store;
      const states = readAll(store);
      for (const step of after) apply(store, step);
      store.restore(snapshot);
      expect([store.revision, store.compactRevision]).toEqual([revision, compactRevision]);
      expect(readAll(store)).toEqual(states);
    }),
  );
});

function readAll(store: Mvcc): unknown[] {
  const oldest = store.compactRevision > 1n ? store.compactRevision : 1n;
  const states: unknown[] = [];
  for (let revision = oldest; revision <= store.revision; revision++) states.push(read(store, revision));
  return states;
}
