// What a crash of the leader costs, beside the least it can cost on the same etcd in the same run:
//   npm run bench:crash -- [--rounds 30] [--unsupervised 6] [--containment auto] [--endpoint HOST:PORT]
//
//   floor         a guarded delete is sent -> a bare grpc-js watch, opened at revision + 1, sees it
//   supervised    the program of the leading `succession run` is killed -> the next one says that its term has begun
//   + program     the same -> its program has been started, too
//   unsupervised  the leading `succession elect` is killed -> the next one says that it leads: its lease had to end
//
// Times end when this process has read the successor's message. Rounds take turns, so that noise of the machine hits all
// alike; of the unsupervised ones, which take a lease each, there are fewer.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Etcd } from "../dist/index.js";
import { startEtcd } from "./etcd.mjs";
import { openFloor } from "./floor.mjs";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "30" },
    unsupervised: { type: "string", default: "6" },
    containment: { type: "string", default: "auto" },
    endpoint: { type: "string" },
  },
});
const rounds = countOf("rounds");
const unsupervised = Math.min(countOf("unsupervised"), rounds);
const ttlSeconds = 5;

const server =
  values.endpoint === undefined
    ? await startEtcd()
    : { endpoint: values.endpoint, release: "as given", close() {} };
const etcd = new Etcd({ endpoints: [server.endpoint] });
await etcd.ready({ timeoutMs: 20_000 });

const running = new Set();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
const main = join(import.meta.dirname, "..", "dist", "cli", "main.js");
const common = ["--json", "--ttl", String(ttlSeconds), "--endpoints", server.endpoint];
const floor = openFloor(server.endpoint, etcd);
const supervised = await openPair("stderr", (id) => [
  ...["run", "/bench/run", "--id", id, "--restart", "never", "--containment", values.containment],
  ...[...common, "--", "sleep", "1000000"],
]);
const alone = await openPair("stdout", (id) => ["elect", "/bench/elect", id, ...common]);

const samples = { floor: [], supervised: [], "+ program": [], unsupervised: [] };
for (let round = 0; round < rounds; round++) {
  samples.floor.push(await floor.round());
  const took = await supervised.round(async ({ event }) => (await event("started")).pid, "started");
  samples.supervised.push(took.leader);
  samples["+ program"].push(took.started);
  if (Math.floor((round * unsupervised) / rounds) < samples.unsupervised.length) continue;
  samples.unsupervised.push((await alone.round(({ child }) => child.pid)).leader);
}
report();
await floor.close();
supervised.close();
alone.close();
await etcd.close();
server.close();
process.exit(0);

/** A leader and a standby, which say on `stream` what becomes of them. */
async function openPair(stream, argsOf) {
  let count = 0;
  const start = () => {
    const id = String(++count);
    const stdio = ["ignore", "ignore", "ignore"];
    stdio[stream === "stdout" ? 1 : 2] = "pipe";
    const child = spawn(process.execPath, [main, ...argsOf(id)], { stdio });
    running.add(child);
    child.once("exit", () => running.delete(child));
    const events = [];
    const waiting = new Set();
    createInterface({ input: child[stream] }).on("line", (line) => {
      const at = performance.now();
      if (!line.startsWith("{")) return;
      events.push({ ...JSON.parse(line), at });
      for (const look of [...waiting]) look();
    });
    const event = (name) =>
      new Promise((resolve) => {
        const look = () => {
          const found = events.find((each) => each.event === name);
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      });
    return { child, event };
  };
  let leader = start();
  await leader.event("leader");
  let standby = start();
  return {
    /** Kills what `victimOf` names. Resolves to when the other one said each of these, from then on. */
    async round(victimOf, ...names) {
      await standby.event("standby");
      await leader.event("leader");
      // Its details are still being stored: a request of its own that a standby has long behind it.
      await setTimeout(50);
      const victim = await victimOf(leader);
      const exited = once(leader.child, "exit");
      const killedAt = performance.now();
      process.kill(victim, "SIGKILL");
      const took = {};
      for (const name of ["leader", ...names]) took[name] = (await standby.event(name)).at - killedAt;
      await exited;
      [leader, standby] = [standby, start()];
      return took;
    },
    close() {
      for (const { child } of [leader, standby]) child.kill("SIGKILL");
    },
  };
}

function report() {
  const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
  process.stdout.write(`etcd ${server.release}, TTL ${ttlSeconds} s, milliseconds\n`);
  process.stdout.write("                rounds       p50       p90       max   p50 - floor\n");
  const least = quantile(
    [...samples.floor].sort((a, b) => a - b),
    0.5,
  );
  for (const [name, unsorted] of Object.entries(samples)) {
    const sorted = [...unsorted].sort((a, b) => a - b);
    const p50 = quantile(sorted, 0.5);
    const cells = [p50, quantile(sorted, 0.9), sorted.at(-1)]
      .map((ms) => ms.toFixed(2).padStart(10))
      .join("");
    process.stdout.write(
      `${name.padEnd(14)}${String(sorted.length).padStart(8)}${cells}${(p50 - least).toFixed(2).padStart(14)}\n`,
    );
  }
}

function countOf(name) {
  const count = Number(values[name]);
  if (!Number.isInteger(count) || count < 1)
    throw new Error(`--${name} must be an integer of 1 or more, got ${values[name]}`);
  return count;
}
