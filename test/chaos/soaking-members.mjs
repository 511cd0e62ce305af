/**
 * Many members in one process, for the soak. Half of them share a client, half have one each. Obeys on standard input:
 * `restart N` (member N leaves and joins again), `rest` (answers when no restart is under way and everybody stands in
 * line, else names who does not), `heap`, `measure`, `leave`; each is answered by one line of JSON.
 */
import { getEventListeners, setMaxListeners } from "node:events";
import { readdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { Etcd, Member } from "succession";

const { endpoints, members: count, elections } = JSON.parse(process.env.OPTIONS);
const shared = new Etcd({ endpoints });
/** A signal that outlives every member: what waits on it must take its listeners back. */
const stop = new AbortController();
setMaxListeners(0, stop.signal);
const members = new Map();
/** What a member is going through, so that it is restarted once at a time. */
const underWay = new Map();
/** The last changes of each member. */
const told = new Map();
let restarts = 0;
process.on("warning", (warning) => answer({ warning: warning.message }));

function answer(fields) {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}

async function lead({ signal }) {
  while (!signal.aborted) await setTimeout(50, undefined, { signal }).catch(() => {});
}

async function join(number) {
  const connection = number % 2 === 0 ? { etcd: shared } : { endpoints };
  const election = `/soak/${number % elections}`;
  const common = { election, id: `m${number}`, ttlSeconds: 2, lead, signal: stop.signal };
  const member = await Member.join({ ...connection, ...common });
  members.set(number, member);
  void follow(member);
}

/** A reader of every change, as programs have one. */
async function follow(member) {
  for await (const change of member.changes({ signal: stop.signal }))
    if (change.phase === "outside") await null;
}

async function restart(number) {
  if (underWay.has(number)) return;
  const done = (async () => {
    await members.get(number).leave();
    await join(number);
    restarts++;
  })();
  underWay.set(number, done);
  await done;
  underWay.delete(number);
}

/** Waits until everybody stands, or for a minute; returns who does not, with what he has been through. */
async function rest() {
  const stands = ({ phase, leader }) => (phase === "waiting" || phase === "leading") && leader !== undefined;
  for (let tries = 0; ; tries++) {
    const restarting = [...underWay.keys()].map((number) => `m${number} is being restarted`);
    const others = [...members.values()].filter((member) => !stands(member));
    const missing = [...restarting, ...others.map(({ id, phase }) => `${id}: ${phase}, ${told.get(id)}`)];
    if (missing.length === 0 || tries === 3_000) return missing;
    await setTimeout(20);
  }
}

function heap() {
  global.gc();
  return process.memoryUsage().heapUsed;
}

/** What is there when no request is under way, which is most of the time: the commonest of many looks. */
async function measure() {
  const looks = new Map();
  for (let look = 0; look < 150; look++) {
    const counts = {};
    for (const kind of process.getActiveResourcesInfo().sort()) counts[kind] = (counts[kind] ?? 0) + 1;
    const seen = JSON.stringify(counts);
    looks.set(seen, (looks.get(seen) ?? 0) + 1);
    await setTimeout(20);
  }
  const [[commonest]] = [...looks].sort(([, a], [, b]) => b - a);
  const listeners = {
    ofSignal: getEventListeners(stop.signal, "abort").length,
    ofClient: getEventListeners(shared.closedSignal, "abort").length,
    ofProcess: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0),
  };
  return { resources: JSON.parse(commonest), listeners, files: readdirSync("/proc/self/fd").length };
}

const commands = {
  rest: async () => ({ missing: await rest(), restarts }),
  heap: async () => ({ heap: heap() }),
  measure,
  leave: async () => {
    await rest();
    await Promise.all([...members.values()].map((member) => member.leave()));
    members.clear();
    // The renewal thread, with its sockets, lingers for five seconds.
    await setTimeout(7_000);
    return { left: true };
  },
  join: async () => {
    await Promise.all(Array.from({ length: count }, (_, number) => join(number)));
    return { joined: true };
  },
  end: async () => {
    await shared.close();
    input.close();
    return { ended: true };
  },
};

const input = createInterface(process.stdin);
for await (const line of input) {
  const [command, number] = line.split(" ");
  if (command === "restart") void restart(Number(number));
  else answer({ [command]: await commands[command]() });
}
