// What a planned change of leader costs, beside the least it can cost on the same etcd in the same run:
//   npm run bench:handover -- [--rounds 300] [--endpoint HOST:PORT]
//
//   floor     a guarded delete is sent -> a bare grpc-js watch, opened at revision + 1, sees it
//   election  the leader resigns (the same guarded delete) -> the successor's campaign() has resolved
//   member    the leader leaves -> the successor's role is "leader" and its `lead` runs
//
// Rounds of the three take turns, so that noise of the machine hits all alike.
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Election, Etcd, Member, Session } from "../dist/index.js";
import { startEtcd } from "./etcd.mjs";
import { openFloor } from "./floor.mjs";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "300" }, endpoint: { type: "string" } },
});
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 1)
  throw new Error(`--rounds must be an integer of 1 or more, got ${values.rounds}`);

const server =
  values.endpoint === undefined
    ? await startEtcd()
    : { endpoint: values.endpoint, release: "as given", close() {} };
const endpoints = [server.endpoint];
const etcd = new Etcd({ endpoints });
await etcd.ready({ timeoutMs: 20_000 });

const floor = openFloor(server.endpoint, etcd);
const election = await openElection();
const member = await openMember();
const samples = { floor: [], election: [], member: [] };
const warmUp = 20;
for (let round = -warmUp; round < rounds; round++) {
  const took = { floor: await floor.round(), election: await election.round(), member: await member.round() };
  if (round >= 0) for (const [name, ms] of Object.entries(took)) samples[name].push(ms);
}
report();
await floor.close();
await election.close();
await member.close();
await etcd.close();
server.close();

/** Two clients, as two processes would have, on the level of Go's package. */
async function openElection() {
  const clients = [new Etcd({ endpoints }), new Etcd({ endpoints })];
  const sessions = await Promise.all(clients.map((client) => Session.open(client, { ttlSeconds: 60 })));
  let [leader, successor] = sessions.map((session) => new Election(session, "/bench/election"));
  await leader.campaign("a");
  return {
    async round() {
      const elected = successor.campaign("b");
      while ((await leader.candidates()).length < 2);
      // The successor's watch is opened behind its key: let etcd take it up first.
      await setTimeout(5);
      const start = performance.now();
      const resigned = leader.resign();
      await elected;
      const ms = performance.now() - start;
      await resigned;
      [leader, successor] = [successor, leader];
      return ms;
    },
    async close() {
      for (const session of sessions) await session.close();
      for (const client of clients) await client.close();
    },
  };
}

/** Whole members: the work of the old leader stops, its key goes, the work of the new one starts. */
async function openMember() {
  let onLead = () => {};
  const join = (id) =>
    Member.join({
      ...{ endpoints, election: "/bench/member", id, ttlSeconds: 60 },
      lead: (term) => {
        onLead();
        return new Promise((resolve) => term.signal.addEventListener("abort", resolve));
      },
    });
  let count = 0;
  let leader = await join("0");
  return {
    async round() {
      const successor = await join(String(++count));
      // Its details are still being stored: a request of its own that a standby has long behind it.
      await setTimeout(5);
      const start = performance.now();
      const leads = new Promise((resolve) => {
        onLead = () => resolve(performance.now() - start);
      });
      const left = leader.leave();
      const ms = await leads;
      if (successor.role !== "leader")
        throw new Error(`the successor is ${successor.role} while its work runs`);
      await left;
      leader = successor;
      return ms;
    },
    close: () => leader.leave(),
  };
}

function report() {
  const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
  const rows = Object.entries(samples).map(([name, unsorted]) => {
    const sorted = [...unsorted].sort((a, b) => a - b);
    return { name, p50: quantile(sorted, 0.5), p90: quantile(sorted, 0.9), p99: quantile(sorted, 0.99) };
  });
  process.stdout.write(`etcd ${server.release}, ${rounds} rounds, milliseconds\n`);
  process.stdout.write("            p50     p90     p99   p50 : floor\n");
  for (const row of rows) {
    const cells = [row.p50, row.p90, row.p99].map((ms) => ms.toFixed(2).padStart(8)).join("");
    process.stdout.write(`${row.name.padEnd(8)}${cells}${(row.p50 / rows[0].p50).toFixed(2).padStart(12)}\n`);
  }
}
