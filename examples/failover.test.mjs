/**
 * How to test the failover of a service of your own, without etcd or Docker:
 *
 *   node --test examples/failover.test.mjs
 *
 * The service is a counter that only the leader may move. It takes its client of etcd as a parameter: that is all it
 * needs to be tested. docs/testing.md tells the rest.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Member, putOp } from "succession";
import { Ledger, TestServer, VirtualEtcd } from "succession/testing";

/** The service under test. */
class Counter {
  static async start({ etcd, id, lead = (work) => work }) {
    const counter = new Counter();
    counter.member = await Member.join({
      etcd,
      election: "/counter",
      id,
      ttlSeconds: 2,
      lead: lead(async (term) => {
        // The first act as leader; etcd refuses it if another one leads by now.
        await etcd.txn({ compare: [term.guard()], success: [putOp("/counted-by", id)] });
        if (!term.signal.aborted) await once(term.signal, "abort");
      }),
    });
    return counter;
  }

  stop() {
    return this.member.leave();
  }
}

test("a leader that is cut off stops before its successor starts", async (t) => {
  const etcd = new VirtualEtcd();
  t.after(() => etcd.close());
  const { clock } = etcd;
  const ledger = new Ledger({ clock });
  const lead = (id) => (work) => ledger.lead(id, work);
  // A link each, so that one of them can be cut off while the other is not.
  const [linkA, linkB] = [etcd.link(), etcd.link()];
  const a = await Counter.start({ etcd: linkA.client(), id: "a", lead: lead("a") });
  const b = await Counter.start({ etcd: linkB.client(), id: "b", lead: lead("b") });
  await clock.advance(1_000);
  assert.equal(a.member.role, "leader");

  linkA.silent();
  await clock.advance(10_000);
  assert.equal(a.member.role, "standby");
  assert.equal(b.member.role, "leader");
  assert.deepEqual(ledger.overlaps, []);
  assert.ok(ledger.idleMs() < 3_000, `nobody led for ${ledger.idleMs()} ms`);

  await linkA.heal();
  await clock.advance(5_000);
  assert.deepEqual(
    etcd.line("/counter").map(({ id }) => id),
    ["b", "a"],
    "the old leader stands behind the new one",
  );
  // Time must go on for whatever takes time.
  await Promise.all([a.stop(), b.stop(), clock.advance(5_000)]);
});

test("the service comes back after etcd has restarted without its data", async (t) => {
  // On sockets, in real time: for services in other processes, too.
  const etcd = await TestServer.start();
  t.after(() => etcd.close());
  const a = await Counter.start({ etcd: etcd.client(), id: "a" });
  await until(() => a.member.role === "leader");

  await etcd.restart({ keepData: false });
  await until(() => etcd.line("/counter")[0]?.id === "a");
  await until(() => a.member.role === "leader");
  await a.stop();
});

/** Waits until it holds. */
async function until(holds, timeoutMs = 10_000) {
  for (const end = performance.now() + timeoutMs; !holds(); await sleep(20)) {
    if (performance.now() > end) assert.fail(`still not so after ${timeoutMs} ms: ${holds}`);
  }
}
