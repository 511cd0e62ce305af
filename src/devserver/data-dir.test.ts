import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DataDir } from "./data-dir.ts";
import { Store } from "./store.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "succession-data-dir-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

const put = (store: Store): bigint => store.put({ key: Uint8Array.of(1) }).header?.revision ?? 0n;
const open = (): Store => {
  const { firstRevision, clusterId, memberId, reserve } = new DataDir(dir);
  return new Store({ firstRevision, clusterId, memberId, onRevision: reserve });
};

test("revisions never go back from run to run, however a run ended", () => {
  let highest = 0n;
  for (let run = 0; run < 3; run++) {
    const store = open();
    expect(store.revision).toBeGreaterThan(highest);
    highest = put(store);
  }
});

test("they do not go back either after more revisions than were reserved at first", () => {
  const first = new DataDir(dir);
  const far = first.firstRevision + 1_000_000n;
  first.reserve(far);
  expect(new DataDir(dir).firstRevision).toBeGreaterThan(far);
});

test("the cluster and the member keep their ids", () => {
  const { clusterId, memberId } = open();
  expect(clusterId).not.toBe(0n);
  expect(memberId).not.toBe(clusterId);
  expect(open()).toMatchObject({ clusterId, memberId });
});

test("the first run starts at etcd's first revision", () => {
  expect(open().revision).toBe(1n);
});

test("an unreadable file is refused: starting over would let tokens go back", () => {
  open();
  const [file] = readdirSync(dir);
  writeFileSync(join(dir, file as string), "{");
  expect(open).toThrow(expect.objectContaining({ code: "BAD_OPTION" }) as Error);
});

test("the folder is created, with its parents", () => {
  dir = join(dir, "a", "b");
  expect(open().revision).toBe(1n);
  dir = join(dir, "..", "..");
});
