import { describe, expect, test } from "vitest";
import { type GrpcCode, StatusError } from "../../src/devserver/status-error.ts";
import { toBytes, toText } from "../../src/etcd/bytes.ts";
import { grpc } from "../../src/etcd/failure.ts";
import { recordKey } from "../../src/member/term-record.ts";
import { readHistory } from "../../src/overview/read.ts";
import { Stage } from "../steering/stage.ts";
import { election, notebook } from "./world.ts";

/** The history, the newest first, in short. */
async function history(stage: Stage) {
  const terms = await readHistory(stage.outside, election);
  return terms.map(({ leader, cause = "leads", gapMs }) => ({ leader, cause, gapMs }));
}

describe("the history of an election", () => {
  test("has each term once, by its leader's word: start, end, cause, zone and gap", async () => {
    const stage = new Stage();
    const { a, b } = await stage.members({ a: { zone: "east" }, b: {} });
    await stage.settle();
    const [first] = await readHistory(stage.outside, election);
    expect(first).toMatchObject({ token: a.member.term?.token, leader: "a", zone: "east" });
    expect(first).not.toHaveProperty("endedAt");
    await stage.until(a.member.handover());
    await stage.settle();
    expect(await history(stage)).toEqual([
      { leader: "b", cause: "leads", gapMs: expect.any(Number) },
      { leader: "a", cause: "handover", gapMs: undefined },
    ]);
    const [, ended] = await readHistory(stage.outside, election);
    expect(Date.parse(ended?.endedAt ?? "")).toBeGreaterThanOrEqual(Date.parse(ended?.startedAt ?? ""));
    await stage.until(b.member.leave());
    expect((await history(stage)).map(({ cause }) => cause)).toEqual(["leads", "resigned", "handover"]);
    await stage.end({ a });
    expect(stage.pending).toBe(0);
  });

  test("is completed by the successor where the leader has died, and the leader's word goes first when it comes", async () => {
    const stage = new Stage();
    const { a, b } = await stage.members({ a: {}, b: {} });
    a.network.silent = true;
    await stage.advance(16_000);
    expect(b.member.role).toBe("leader");
    expect((await history(stage)).map(({ leader, cause }) => [leader, cause])).toEqual([
      ["b", "leads"],
      ["a", "lease-gone"],
    ]);
    a.network.heal();
    await stage.advance(16_000);
    expect((await history(stage)).map(({ leader, cause }) => [leader, cause])).toEqual([
      ["b", "leads"],
      ["a", "deadline"],
    ]);
    await stage.end({ a, b });
  });

  test("tells a lease that was revoked from a key that was deleted", async () => {
    const stage = new Stage();
    const { a, b } = await stage.members({ a: {}, b: {} });
    stage.store.leaseRevoke({ ID: a.member.line[0]?.leaseId ?? 0n });
    await stage.advance(5_000);
    stage.store.deleteRange({ key: toBytes(b.member.line[0]?.key ?? "") });
    await stage.advance(5_000);
    expect((await history(stage)).map(({ leader, cause }) => [leader, cause])).toEqual([
      ["a", "leads"],
      ["b", "key-gone"],
      ["a", "lease-gone"],
    ]);
    await stage.end({ a, b });
  });

  test("has terms of strangers, written by the first in waiting, and how they ended", async () => {
    const stage = new Stage();
    await stage.stranger("go 1");
    await stage.stranger("go 2");
    const { a } = await stage.members({ a: {}, b: {} });
    await stage.advance(3_000);
    expect(await history(stage)).toEqual([]);
    await stage.advance(3_000);
    expect(await history(stage)).toEqual([{ leader: "go 1", cause: "leads", gapMs: undefined }]);
    const { line } = a.member;
    stage.store.deleteRange({ key: toBytes(line[0]?.key ?? "") });
    await stage.advance(500);
    // Of a moment, and before anybody looks.
    stage.store.leaseRevoke({ ID: line[1]?.leaseId ?? 0n });
    await stage.advance(5_000);
    expect((await history(stage)).map(({ leader, cause }) => [leader, cause])).toEqual([
      ["a", "leads"],
      ["go 2", "lease-gone"],
      ["go 1", "key-gone"],
    ]);
    await stage.end({ a });
  });

  test("measures the gap by the successor's clock, and by two where the end before was not seen", async () => {
    const stage = new Stage();
    const { a } = await stage.members({ a: {} });
    await stage.until(a.member.leave());
    await stage.advance(60_000);
    const { b } = await stage.members({ b: {} });
    await stage.advance(3_000);
    const [gap] = (await history(stage)).map(({ gapMs }) => gapMs);
    expect(gap).toBeGreaterThanOrEqual(59_000);
    expect(gap).toBeLessThan(62_000);
    await stage.end({ b });
  });

  test("keeps the newest 200 terms", async () => {
    const stage = new Stage();
    for (let token = 1n; token <= 210n; token++) {
      const value = toBytes(JSON.stringify({ token: Number(token), leader: "old", endedAt: "then" }));
      stage.store.put({ key: toBytes(recordKey(election, token)), value });
    }
    const { a } = await stage.members({ a: {} });
    await stage.advance(3_000);
    expect(stage.records).toHaveLength(200);
    expect(stage.records[0]).toBe(recordKey(election, 12n));
    await stage.end({ a });
  });

  test.each([
    ["is refused", grpc.permissionDenied, "etcdserver: permission denied"],
    ["fails", grpc.unavailable, "etcdserver: no leader"],
  ])("hurts nobody where writing it %s, and is made up for", async (_title, code, message) => {
    const stage = new Stage();
    const { logger, said } = notebook();
    const spoilt = spoilRecords(stage, code, message);
    const { a } = await stage.members({ a: {}, b: {} });
    const c = await stage.join("c", { logger });
    const from = stage.clock.now();
    await stage.until(a.member.leave());
    expect(stage.clock.now() - from).toBeLessThan(1_200);
    expect(stage.line).toEqual(["b", "c"]);
    await stage.advance(5_000);
    expect(stage.records).toEqual([]);
    expect(said.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
    spoilt.heal();
    stage.deleteLine();
    await stage.advance(10_000);
    expect((await history(stage)).slice(0, 2)).toMatchObject([
      { cause: "leads" },
      { leader: "b", cause: "key-gone" },
    ]);
    await stage.end({ c });
  });
});

/** Has etcd answer each write below the history with an error. */
function spoilRecords(stage: Stage, code: GrpcCode, message: string): { heal(): void } {
  const { store } = stage;
  const txn = store.txn.bind(store);
  store.txn = (request) => {
    const writes = (request.success ?? []).some(
      ({ request: op }) =>
        op?.case === "requestPut" && toText(op.value.key as Uint8Array).includes("/history/"),
    );
    if (writes) throw new StatusError(code, message);
    return txn(request);
  };
  return {
    heal: () => {
      store.txn = txn;
    },
  };
}
