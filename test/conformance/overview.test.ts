import { expect, test } from "vitest";
import { toBytes } from "../../src/etcd/bytes.ts";
import type { Etcd } from "../../src/etcd/etcd.ts";
import { Member } from "../../src/member/member.ts";
import { listElections } from "../../src/overview/elections.ts";
import { followOverview, type OverviewItem } from "../../src/overview/follow.ts";
import { leaseTimes } from "../../src/overview/lease-times.ts";
import { readHistory, readOverview } from "../../src/overview/read.ts";
import { handover } from "../../src/steering/handover.ts";
import { pause } from "../../src/steering/pause.ts";
import { eventually as soon } from "../support/eventually.ts";
import { onEveryStore } from "./stores.ts";

const odd = 'go "x" \n\x1b[31m 東京 👍';

/** On a machine that is busy with other things. */
const eventually = <T>(assertion: () => T | Promise<T>): Promise<T> => soon(assertion, { timeoutMs: 20_000 });

/** A key as Go's package puts it. */
async function stranger(etcd: Etcd, election: string, id: string): Promise<bigint> {
  const { ID } = await etcd.leaseGrant(60);
  await etcd.put(`${election}/${ID.toString(16)}`, id, { lease: ID });
  return ID;
}

/** Collects what somebody who follows is told, until `stop`. */
function follow(etcd: Etcd, election: string, everyMs = 0) {
  const stop = new AbortController();
  const items: OverviewItem[] = [];
  const ended = (async () => {
    try {
      for await (const item of followOverview(etcd, election, { signal: stop.signal, everyMs }))
        items.push(item);
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  })();
  return {
    items,
    end: async () => {
      stop.abort();
      await ended;
    },
  };
}

onEveryStore("the overview", (store) => {
  test("shows members, strangers, witnesses, pause and leases, and follows them", async () => {
    const etcd = store.client();
    const election = store.key(`seen ${odd}`);
    const seen = follow(etcd, election);
    const settings = { etcd, election, ttlSeconds: 30, worker: false };
    const a = await Member.join({ ...settings, id: odd, zone: "東京", priority: 120 });
    const w = await Member.join({ ...settings, id: "w", candidate: false });
    const lease = await stranger(etcd, election, odd);
    await pause(etcd, election, { reason: odd, forMs: 60_000, by: "Ann" });
    const now = await eventually(async () => {
      const read = await readOverview(etcd, election);
      expect(read).toMatchObject({
        line: [
          { id: odd, isMember: true, zone: "東京", priority: 120 },
          { id: odd, isMember: false, leaseId: lease },
        ],
        ...{ witnesses: [{ id: "w" }], pause: { reason: odd, by: "Ann" }, complete: true },
        terms: [{ token: a.term?.token, leader: odd, zone: "東京" }],
      });
      return read;
    });
    expect(await listElections(etcd)).toContain(election);
    const times = await leaseTimes(etcd, [lease, now.pause?.leaseId ?? 0n, now.witnesses[0]?.leaseId ?? 0n]);
    expect([...times.values()].every(({ remainingMs }) => remainingMs > 0)).toBe(true);
    expect(times.size).toBe(3);
    await eventually(() =>
      expect(seen.items.at(-1)?.overview).toMatchObject({ ...now, revision: expect.anything() }),
    );
    await Promise.all([a.leave(), w.leave()]);
    await eventually(() =>
      expect(seen.items.at(-1)?.overview).toMatchObject({
        ...{ leader: { leaseId: lease }, witnesses: [], terms: [{ cause: "resigned" }] },
      }),
    );
    await seen.end();
  });

  test("has every term once, with its cause: handed over, gone with its lease, deleted, a stranger's", async () => {
    const etcd = store.client();
    const election = store.key("history");
    const first = await stranger(etcd, election, "go 1");
    const join = (id: string) => Member.join({ etcd, election, id, ttlSeconds: 30, worker: false });
    const members = [await join("a"), await join("b"), await join("c")];
    await eventually(async () =>
      expect(await readHistory(etcd, election)).toMatchObject([{ leader: "go 1" }]),
    );
    await etcd.leaseRevoke(first);
    await eventually(() => expect(members[0]?.role).toBe("leader"));
    await eventually(async () => {
      const { line } = await readOverview(etcd, election);
      expect(line.filter(({ isMember }) => isMember)).toHaveLength(3);
    });
    await handover(etcd, election);
    await eventually(() => expect(members[1]?.role).toBe("leader"));
    await etcd.delete(members[1]?.term?.key ?? "");
    await eventually(() => expect(members[2]?.role).toBe("leader"));
    const history = await eventually(async () => {
      const terms = await readHistory(etcd, election);
      expect(terms.map(({ leader, cause }) => [leader, cause])).toEqual([
        ["c", undefined],
        ["b", "key-gone"],
        ["a", "handover"],
        ["go 1", "lease-gone"],
      ]);
      return terms;
    });
    for (const { gapMs = -1 } of history.slice(0, 3)) expect(gapMs).toBeGreaterThanOrEqual(0);
    await Promise.all(members.map((member) => member.leave()));
  });

  test("with 500 candidates is read at once, and followed without asking for a lease", async () => {
    const etcd = store.client();
    const election = store.key("crowd");
    const { ID: lease } = await etcd.leaseGrant(60);
    for (let from = 0; from < 500; from += 100) {
      const success = Array.from({ length: 100 }, (_, at) => ({
        request: {
          case: "requestPut" as const,
          value: { key: toBytes(`${election}/${from + at}`), value: toBytes(`node ${from + at}`), lease },
        },
      }));
      await etcd.txn({ success });
    }
    const seen = follow(etcd, election, 100);
    await eventually(() => expect(seen.items.at(-1)?.overview?.line).toHaveLength(500));
    await etcd.leaseRevoke(lease);
    await eventually(() => expect(seen.items.at(-1)?.overview?.line).toEqual([]));
    expect(seen.items.length).toBeLessThan(20);
    await seen.end();
  });
});
