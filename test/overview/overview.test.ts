import { describe, expect, test } from "vitest";
import { StatusError } from "../../src/devserver/status-error.ts";
import { toBytes, toText } from "../../src/etcd/bytes.ts";
import { grpc } from "../../src/etcd/failure.ts";
import { historyPrefix, recordKey } from "../../src/member/term-record.ts";
import { listElections } from "../../src/overview/elections.ts";
import { followOverview, type OverviewItem } from "../../src/overview/follow.ts";
import { leaseTimes } from "../../src/overview/lease-times.ts";
import { readHistory, readOverview } from "../../src/overview/read.ts";
import { election } from "../member/world.ts";
import { Stage } from "../steering/stage.ts";

/** Collects what somebody who follows is told, until `stop`. */
function following(stage: Stage, options: Parameters<typeof followOverview>[2] = {}) {
  const stop = new AbortController();
  const network = stage.network();
  const etcd = network.client();
  const items: OverviewItem[] = [];
  const ended = (async () => {
    try {
      for await (const item of followOverview(etcd, election, { ...options, signal: stop.signal }))
        items.push(item);
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
    await etcd.close();
  })();
  return { items, network, ended, stop: () => stop.abort() };
}

/** Has etcd refuse to show what is not in the line. */
function refuseMeta({ store }: Stage): void {
  const isMeta = (key: Uint8Array | undefined): boolean =>
    toText(key ?? new Uint8Array()).startsWith("_succession");
  const denied = (): never => {
    throw new StatusError(grpc.permissionDenied, "etcdserver: permission denied");
  };
  const { txn, range } = store;
  store.txn = (request) => {
    const ops = [...(request.success ?? []), ...(request.failure ?? [])];
    const refused = ops.some(({ request: op }) => op?.case === "requestRange" && isMeta(op.value.key));
    return refused ? denied() : txn.call(store, request);
  };
  store.range = (request) => (isMeta(request.key) ? denied() : range.call(store, request));
}

describe("an overview", () => {
  test("shows the line with details, strangers, witnesses, pause and lease times, of one revision", async () => {
    const stage = new Stage();
    const members = await stage.members({
      a: { address: "10.0.0.1:8080", zone: "east", priority: 120 },
      w: { candidate: false, zone: "west" },
    });
    await stage.stranger('go "b"\n\x1b[31m');
    await stage.pause("upgrade", 60_000);
    const seen = await readOverview(stage.outside, election);
    expect(seen.line).toMatchObject([
      { id: "a", isMember: true, address: "10.0.0.1:8080", zone: "east", priority: 120 },
      { id: 'go "b"\n\x1b[31m', isMember: false },
    ]);
    expect(seen.line[1]).not.toHaveProperty("zone");
    expect(seen.leader).toBe(seen.line[0]);
    expect(seen.leader?.token).toBeLessThan(seen.line[1]?.token ?? 0n);
    expect(seen.witnesses).toMatchObject([{ id: "w", zone: "west" }]);
    expect(seen).toMatchObject({ complete: true, pause: { reason: "upgrade" }, handover: undefined });
    const ids = [...seen.line, ...seen.witnesses].map(({ leaseId }) => leaseId);
    const times = await leaseTimes(stage.outside, [...ids, seen.pause?.leaseId ?? 0n, 0n, 4711n]);
    expect(times.size).toBe(4);
    expect(times.get(seen.leader?.leaseId ?? 0n)).toMatchObject({ ttlMs: 10_000 });
    expect(await listElections(stage.outside)).toEqual([election]);
    await stage.end(members);
  });

  test("takes foreign values under its folder for what they are: nothing", async () => {
    const stage = new Stage();
    const { a } = await stage.members({ a: {} });
    const folder = historyPrefix(election).replace(/history\/$/, "");
    const { leaseId = 0n } = (await readOverview(stage.outside, election)).leader ?? {};
    const put = (key: string, value: string) =>
      stage.store.put({ key: toBytes(key), value: toBytes(value), lease: leaseId });
    put(`${folder}members/${leaseId.toString(16)}`, '{"id":7,"zone":["x"],"priority":"high"}');
    put(`${folder}members/nonsense`, '{"id":"n","candidate":false}');
    put(`${folder}history/nonsense`, "{}");
    put(recordKey(election, 700n), '{"leader":3,"gapMs":"soon","startedAt":"then"}');
    put(recordKey(election, 900n), "no JSON");
    put("_succession/v1/%/members/1", "{}");
    const seen = await readOverview(stage.outside, election);
    expect(seen.line).toEqual([
      { id: "a", key: seen.leader?.key, token: seen.leader?.token, leaseId, isMember: false },
    ]);
    expect(seen.witnesses).toEqual([]);
    expect(seen.terms).toMatchObject([
      { token: 900n, leader: "" },
      { token: 700n, leader: "", startedAt: "then" },
      { leader: "a" },
    ]);
    expect(await readHistory(stage.outside, election, { mostTerms: 1 })).toMatchObject([{ token: 900n }]);
    expect(await listElections(stage.outside)).toEqual([election]);
    await stage.end({ a });
  });

  test("without rights to what members tell is of the line alone, and says so; nor are elections listed", async () => {
    const stage = new Stage();
    const members = await stage.members({ a: { zone: "east" }, b: {} });
    refuseMeta(stage);
    const seen = await readOverview(stage.outside, election);
    expect(seen).toMatchObject({
      complete: false,
      line: [{ id: "a", isMember: false }, { id: "b" }],
      terms: [],
    });
    const f = following(stage);
    await stage.settle();
    expect(f.items).toMatchObject([{ at: "current", overview: { complete: false, leader: { id: "a" } } }]);
    await stage.until(members.a.member.leave());
    expect(f.items.at(-1)).toMatchObject({ overview: { complete: false, leader: { id: "b" } } });
    await expect(listElections(stage.outside)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("read on the range [_succession/v1/, _succession/v10)"),
    });
    f.stop();
    await f.ended;
    await stage.end({ b: members.b });
  });

  test.each([
    ["/merc/", {}, /election must be a name without a trailing/],
    ["/merc", { mostTerms: 0 }, /mostTerms must be an integer of 1 or more, got 0/],
    ["/merc", { timeoutMs: -1 }, /timeoutMs must be/],
  ])("of %s with %o is refused", async (name, options, says) => {
    const stage = new Stage();
    await expect(readOverview(stage.outside, name, options)).rejects.toThrow(says);
    await stage.outside.close();
  });
});

describe("following an election", () => {
  test("tells the present state first, then each change, and each leader however short", async () => {
    const stage = new Stage();
    const { a } = await stage.members({ a: {} });
    const f = following(stage);
    await stage.settle();
    expect(f.items).toMatchObject([{ at: "current", skipped: 0, overview: { leader: { id: "a" } } }]);
    const b = await stage.join("b", { zone: "west" });
    expect(f.items.at(-1)).toMatchObject({ overview: { line: [{ id: "a" }, { id: "b", zone: "west" }] } });
    await stage.until(a.member.leave());
    expect(f.items.at(-1)).toMatchObject({ overview: { leader: { id: "b" } } });
    await stage.pause("upgrade");
    await stage.settle();
    expect(f.items.at(-1)).toMatchObject({ overview: { pause: { reason: "upgrade" } } });
    await stage.resume();
    await stage.settle();
    expect(f.items.at(-1)).toMatchObject({ overview: { pause: undefined } });
    f.stop();
    await f.ended;
    await stage.end({ b });
    expect(stage.pending).toBe(0);
  });

  test("says so when etcd goes away, and shows the present state when it comes back", async () => {
    const stage = new Stage();
    const members = await stage.members({ a: {}, b: {} });
    const f = following(stage);
    await stage.settle();
    f.network.silent = true;
    f.network.break();
    await stage.advance(8_000);
    expect(f.items.at(-1)).toMatchObject({
      at: "stale",
      error: { code: "ETCD_UNAVAILABLE" },
      overview: { leader: { id: "a" } },
    });
    const before = f.items.length;
    await stage.until(members.a.member.leave());
    await stage.advance(30_000);
    expect(f.items.length).toBe(before);
    f.network.heal();
    await stage.advance(8_000);
    expect(f.items.at(-1)).toMatchObject({ at: "current", overview: { leader: { id: "b" } } });
    f.stop();
    await f.ended;
    await stage.end({ b: members.b });
  });

  test("with 500 candidates coalesces to one item a period, and asks for no lease", async () => {
    const stage = new Stage();
    const f = following(stage, { everyMs: 100 });
    await stage.advance(1_000);
    const before = f.items.length;
    for (let at = 0; at < 500; at++) {
      stage.put(`go-${at}`);
      if (at % 50 === 0) await stage.settle();
    }
    await stage.advance(100);
    expect(f.items.length).toBeLessThanOrEqual(before + 2);
    expect(f.items.at(-1)).toMatchObject({ overview: { leader: { id: "go-0" }, complete: true } });
    expect(f.items.at(-1)?.overview?.line).toHaveLength(500);
    expect(f.network.count("LeaseTimeToLive")).toBe(0);
    expect(f.network.count()).toBeLessThan(20);
    f.stop();
    await f.ended;
    await stage.outside.close();
  });
});
