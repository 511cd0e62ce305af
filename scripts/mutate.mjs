/**
 * Proof that the simulator can fail: breaks a copy of the sources in one way at a time and shows that the simulator
 * alone notices, within 300 seeds. `node scripts/mutate.mjs`:
 *
 *   --seeds N   how many at most for each (default 300)     --jobs N   at a time (default 2)
 *   --only X    mutations whose name contains X
 *
 * Fails if one survives, if the unbroken sources do not pass the same seeds, or if a text to replace is not found once.
 */
import { spawn, spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "300" },
    jobs: { type: "string", default: String(Math.min(2, availableParallelism())) },
    only: { type: "string", default: "" },
  },
});

/** What is broken: a name, and texts to replace, each of which occurs once in its file. */
const mutations = [
  {
    name: "deadlines count from the receive time",
    edits: [
      [
        "src/concurrency/session.ts",
        "provenUntil(sentAt, ttlMs));",
        "provenUntil(this.#clock.now(), ttlMs));",
      ],
      [
        "src/concurrency/candidacy.ts",
        "this.#keySeenAt = Math.max(this.#keySeenAt, sentAt);",
        "this.#keySeenAt = Math.max(this.#keySeenAt, this.#etcd.clock.now(), sentAt);",
      ],
    ],
  },
  {
    name: "the own key is not checked",
    edits: [
      [
        "src/concurrency/candidacy.ts",
        "Math.min(this.session.deadline, provenUntil(this.#keySeenAt, this.ttlMs))",
        "this.session.deadline",
      ],
      [
        "src/concurrency/line.ts",
        "if (kv?.createRevision !== each.token || kv.lease !== each.leaseId) each.keyMissing();",
        "if (kv?.createRevision !== each.token || kv.lease !== each.leaseId) continue;",
      ],
      ["src/concurrency/line.ts", "        this.#compare(kvs[0], revision, known, sentAt);\n", ""],
    ],
  },
  {
    name: "no loop watches the deadlines",
    edits: [
      [
        "src/concurrency/session.ts",
        "this.#cancelExpiry = this.#clock.at(this.#deadline, () => {",
        "this.#cancelExpiry = this.#clock.at(Number.POSITIVE_INFINITY, () => {",
      ],
      [
        "src/concurrency/term.ts",
        "this.#cancelTimer = this.#clock.at(this.#deadline(), () => {",
        "this.#cancelTimer = this.#clock.at(Number.POSITIVE_INFINITY, () => {",
      ],
    ],
  },
  {
    name: "the role is a flag",
    edits: [
      [
        "src/concurrency/term.ts",
        "Math.max(0, this.#deadline() - this.#clock.now())",
        "Math.max(1, this.#deadline() - this.#clock.now())",
      ],
    ],
  },
  {
    name: "deletes are not guarded",
    edits: [
      [
        "src/concurrency/candidacy.ts",
        "const request = { compare: [created(this.key, this.token)], success: [deleteOp(this.key)] };",
        "const request = { success: [deleteOp(this.key)] };",
      ],
    ],
  },
  {
    name: "a watch is resumed one revision too late",
    edits: [
      [
        "src/etcd/watch.ts",
        "startRevision: follower.next ?? 0n,",
        "startRevision: follower.next === undefined ? 0n : follower.next === follower.request.startRevision ? follower.next : follower.next + 1n,",
      ],
    ],
  },
  {
    name: "a watch begins one revision too late",
    edits: [["src/concurrency/line.ts", "startRevision: revision + 1n }", "startRevision: revision + 2n }"]],
  },
  {
    name: "a revision is applied event by event",
    edits: [
      [
        "src/concurrency/line.ts",
        "events: (batch) => this.#apply(batch),",
        "events: (batch) => { for (const event of batch.events) this.#apply({ ...batch, events: [event] }); },",
      ],
    ],
  },
  {
    name: "an answer is matched to the newest send",
    edits: [
      [
        "src/concurrency/renewal.ts",
        "      connection.stalled();\n",
        "      if (this.#sent.length < 4) return this.#send();\n      connection.stalled();\n",
      ],
      [
        "src/concurrency/renewal.ts",
        "const sentAt = this.#sent.shift();",
        "const sentAt = this.#sent.pop();",
      ],
    ],
  },
  {
    name: "a stale answer revives a term",
    edits: [
      [
        "src/concurrency/session.ts",
        "    this.checkDeadline();\n    for (const { candidacy } of this.places.values()) candidacy?.checkDeadline();\n",
        "",
      ],
      [
        "src/concurrency/candidacy.ts",
        "    this.checkDeadline();\n    if (this.#endCause",
        "    if (this.#endCause",
      ],
    ],
  },
  {
    name: "the clock does not count suspension",
    edits: [
      [
        "src/clock.ts",
        "return Math.max(monotonicMs() - this.#monotonicOrigin, bootMs() - this.#bootOrigin);",
        "return monotonicMs() - this.#monotonicOrigin;",
      ],
    ],
  },
  {
    name: "a lost term's key is led on again",
    edits: [
      [
        "src/concurrency/candidacy.ts",
        "    if (this.#endCause !== undefined) return;\n    this.#endCause = cause;\n",
        "    if (this.#endCause !== undefined) return;\n" +
          '    if (cause === "deadline" && this.#term !== undefined) {\n' +
          "      const term = this.#term;\n      this.#term = undefined;\n      this.onEnded(cause);\n      term.end(cause);\n      return;\n    }\n" +
          "    this.#endCause = cause;\n",
      ],
    ],
  },
  {
    name: "a key is led on after its delete was sent",
    edits: [
      ["src/concurrency/election.ts", '    candidacy.end("resigned");\n', ""],
      [
        "src/concurrency/candidacy.ts",
        '  release(options: CallOptions = {}): Promise<void> {\n    this.end("resigned");\n',
        "  release(options: CallOptions = {}): Promise<void> {\n",
      ],
    ],
  },
  {
    name: "the first put is taken for the leader",
    edits: [
      ["src/concurrency/observer.ts", "const { leader } = line;", "const leader = line.candidates.at(-1);"],
    ],
  },
  {
    name: "the key is given up before the work has stopped",
    edits: [
      [
        "src/member/rounds.ts",
        "    await this.#stop(work, candidacy.session, cause, stopTimeoutMs);\n",
        "    void this.#stop(work, candidacy.session, cause, stopTimeoutMs);\n",
      ],
    ],
  },
  {
    name: "two watches instead of one",
    edits: [
      [
        "src/concurrency/line.ts",
        "        events: (batch) => this.#apply(batch),",
        "        events: (batch) => mine(batch, false),",
      ],
      [
        "src/concurrency/line.ts",
        "    this.#watch = this.#shared.watcher.open(\n",
        "    const mine = (batch: WatchEvents, wanted: boolean): void => {\n" +
          "      const own = new Set([...this.#own].map(({ key }) => key));\n" +
          "      const events = batch.events.filter(({ kv }) => kv !== undefined && own.has(toText(kv.key)) === wanted);\n" +
          "      if (events.length > 0) this.#apply({ ...batch, events });\n" +
          "    };\n" +
          "    this.#own2?.close();\n" +
          "    this.#own2 = this.#shared.watcher.open(\n" +
          "      { key: this.election.concat('/'), prefix: true, startRevision: revision + 1n },\n" +
          "      { events: (batch) => mine(batch, true), canceled: () => this.#restart() },\n" +
          "    );\n" +
          "    this.#watch = this.#shared.watcher.open(\n",
      ],
      [
        "src/concurrency/line.ts",
        "  #watch: Watch | undefined;\n",
        "  #watch: Watch | undefined;\n  #own2: Watch | undefined;\n",
      ],
      [
        "src/concurrency/line.ts",
        '    this.#left.abort(closedError("the line"));\n',
        '    this.#left.abort(closedError("the line"));\n    this.#own2?.close();\n',
      ],
    ],
  },
  {
    name: "no margin",
    edits: [["src/concurrency/deadline.ts", "return Math.max(250, ttlMs * 0.02);", "return 0;"]],
  },
  {
    name: "the TTL asked for, not the one granted",
    edits: [
      [
        "src/concurrency/session.ts",
        "return new Session(etcd, response.ID, Number(response.TTL) * 1_000, sentAt);",
        "return new Session(etcd, response.ID, ttlSeconds * 1_000, sentAt);",
      ],
      [
        "src/concurrency/session.ts",
        "    this.#ttlMs = ttlMs;\n    this.#deadline = Math.max(this.#deadline, provenUntil(sentAt, ttlMs));",
        "    void ttlMs;\n    this.#deadline = Math.max(this.#deadline, provenUntil(sentAt, this.#ttlMs));",
      ],
    ],
  },
  {
    name: "a store that went back is not noticed",
    edits: [
      [
        "src/etcd/history.ts",
        "if (otherCluster || revision < known.revision) {",
        "if (otherCluster && revision < 0n) {",
      ],
      ["src/concurrency/line.ts", "if (revision < known) {", "if (revision < 0n) {"],
      ["src/concurrency/candidacy.ts", 'if (this.#term !== undefined) this.end("store-restored");', ""],
    ],
  },
  {
    name: "whoever's predecessor has gone leads",
    edits: [
      [
        "src/concurrency/candidacy.ts",
        "if (position === 0) this.#elect();",
        "if (position === 0 || (moved && position < this.#position + 9 && this.#term === undefined)) this.#elect();",
      ],
    ],
  },
  {
    name: "a waiter does not see that its own key has gone",
    edits: [
      [
        "src/concurrency/candidacy.ts",
        '    if (own === undefined) {\n      this.end("key-gone");\n      return;\n    }\n',
        "    if (own === undefined) return;\n",
      ],
      [
        "src/concurrency/candidacy.ts",
        '  keyMissing(): void {\n    this.end("key-gone");\n  }',
        "  keyMissing(): void {}",
      ],
    ],
  },
];

const chosen = mutations.filter(({ name }) => name.includes(values.only));
if (chosen.length === 0) throw new Error(`no mutation is called "${values.only}"`);
const folder = join(root, ".cache", `mutate-${process.pid}`);
// Checked first, so that a text that has moved is told at once.
for (const { name, edits } of mutations) mutated(name, edits);
try {
  process.exitCode = await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function main() {
  const unbroken = await judge({ name: "nothing", edits: [] }, 0);
  if (unbroken.violation !== undefined) {
    console.log(
      `FAILED: the unbroken sources break a rule: seed ${unbroken.seed}: ${unbroken.violation.text}`,
    );
    return 1;
  }
  console.log(`unbroken: ${unbroken.seeds} seeds pass`);
  const waiting = chosen.map((mutation, at) => ({ mutation, at: at + 1 }));
  const survivors = [];
  const work = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { mutation, at } = next;
      const { violation, seed, seeds } = await judge(mutation, at);
      if (violation === undefined) survivors.push(mutation.name);
      const how = violation === undefined ? "SURVIVED" : `caught at seed ${seed}, by ${violation.rule}`;
      console.log(`${mutation.name}: ${how} (${seeds} seeds)`);
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, work));
  for (const name of survivors) console.log(`FAILED: ${name}: survived ${values.seeds} seeds`);
  console.log(`${chosen.length - survivors.length} of ${chosen.length} mutations caught`);
  return survivors.length > 0 ? 1 : 0;
}

/** The changed files, by name; throws unless each text occurs exactly once. */
function mutated(name, edits) {
  const files = new Map();
  for (const [file, from, to] of edits) {
    const text = files.get(file) ?? readFileSync(join(root, file), "utf8");
    const times = text.split(from).length - 1;
    if (times !== 1) {
      throw new Error(`"${name}": ${file} has ${times} times, not once:\n${from}`);
    }
    files.set(
      file,
      text.replace(from, () => to),
    );
  }
  return files;
}

/** Builds the copy with its fault, and runs seeds up to the first that breaks a rule. */
async function judge({ name, edits }, at) {
  const tree = join(folder, String(at));
  mkdirSync(join(tree, "test"), { recursive: true });
  cpSync(join(root, "src"), join(tree, "src"), { recursive: true });
  cpSync(join(root, "test", "simulation"), join(tree, "test", "simulation"), { recursive: true });
  cpSync(join(root, "tsconfig.json"), join(tree, "tsconfig.json"));
  for (const [file, text] of mutated(name, edits)) writeFileSync(join(tree, file), text);
  const out = join(tree, "out");
  mkdirSync(out);
  writeFileSync(join(out, "package.json"), JSON.stringify({ type: "module", version: "0.0.0" }));
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const args = ["-p", join(tree, "test", "simulation", "tsconfig.json"), "--noCheck", "--outDir", out];
  if (spawnSync(process.execPath, [tsc, ...args], { stdio: "inherit" }).status !== 0) {
    throw new Error(`"${name}" does not compile`);
  }
  const program = join(out, "test", "simulation", "main.js");
  const child = spawn(process.execPath, ["--stack-trace-limit=0", program, "run", "1", values.seeds], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const status = new Promise((resolve) => {
    child.once("close", resolve);
  });
  let seeds = 0;
  let last;
  for await (const line of createInterface(child.stdout)) {
    last = JSON.parse(line);
    seeds++;
  }
  const code = await status;
  if (code !== 0) throw new Error(`"${name}": the simulator ended with ${code}`);
  return { seeds, seed: last?.seed, violation: last?.violation };
}
