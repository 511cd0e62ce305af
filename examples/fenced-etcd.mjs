/**
 * Writes that etcd itself refuses once another one leads: each is a transaction that compares the leader's own key.
 *
 *   node examples/fenced-etcd.mjs ID
 *
 * A process may be stopped between deciding to write and writing, for longer than its term lasts: no check before the
 * write can help then, only the one that is made together with it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Etcd, Member, putOp } from "succession";

const [id = `etcd:${process.pid}`] = process.argv.slice(2);
const { SUCCESSION_ENDPOINTS: endpoints = "127.0.0.1:2379" } = process.env;
const say = (text) => process.stdout.write(`${id}: ${text}\n`);

const etcd = new Etcd({ endpoints: endpoints.split(",") });
const member = await Member.join({
  etcd,
  ...{ election: "/fenced-etcd", id, ttlSeconds: 5 },
  lead: async (term) => {
    for (let step = 1; !term.signal.aborted; step++) {
      say(`works, token ${term.token}`);
      await sleep(200);
      const { succeeded } = await etcd.txn({
        compare: [term.guard()],
        success: [putOp("/fenced/etcd", `${id}, step ${step}`)],
      });
      say(succeeded ? "written" : `refused, token ${term.token}`);
    }
  },
});

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    await member.leave();
    await etcd.close();
  });
}
