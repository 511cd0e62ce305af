/**
 * What `npm run mutate` breaks, by the safety rule that it breaks: those of "Why there are never two leaders" in
 * ARCHITECTURE.md, and the delay of `takeoverDelayMs`. An edit is a file, a text that occurs in it once, and what to put
 * there instead.
 *
 * Not here, because no run can tell: jitter, and a second line of defence where the first one holds.
 */
const audit = "src/concurrency/audit.ts";
const candidacy = "src/concurrency/candidacy.ts";
const election = "src/concurrency/election.ts";
const history = "src/etcd/history.ts";
const line = "src/concurrency/line.ts";
const proof = "src/concurrency/proof.ts";
const renewal = "src/concurrency/renewal.ts";
const requests = "src/etcd/requests.ts";
const returns = "src/member/returns.ts";
const rounds = "src/member/rounds.ts";
const session = "src/concurrency/session.ts";
const clearance = "src/steering/clearance.ts";
const plan = "src/steering/plan.ts";
const step = "src/member/steering-step.ts";
const takeover = "src/concurrency/takeover.ts";
const term = "src/concurrency/term.ts";
const watch = "src/etcd/watch.ts";
const work = "src/member/work.ts";

const deadlineFromSend = [
  {
    name: "the session's deadline counts from the receive time",
    edits: [
      [
        session,
        "this.#proof.renew(provenUntil(sentAt, ttlMs), this.#clock.now());",
        "this.#proof.renew(provenUntil(this.#clock.now(), ttlMs), this.#clock.now());",
      ],
    ],
  },
  {
    name: "a key seen counts from the receive time",
    edits: [
      [
        candidacy,
        "const until = provenUntil(sentAt, this.ttlMs);",
        "const until = provenUntil(this.#etcd.clock.now(), this.ttlMs);",
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
        session,
        "return new Session(etcd, response.ID, Number(response.TTL) * 1_000, sentAt, options);",
        "return new Session(etcd, response.ID, ttlSeconds * 1_000, sentAt, options);",
      ],
      [
        session,
        "    this.#ttlMs = ttlMs;\n    this.#proof.renew(provenUntil(sentAt, ttlMs)",
        "    void ttlMs;\n    this.#proof.renew(provenUntil(sentAt, this.#ttlMs)",
      ],
    ],
  },
  {
    name: "an answer is matched to the newest send",
    edits: [
      [
        renewal,
        "      connection.stalled();\n",
        "      if (this.#sent.length < 4) return this.#send();\n      connection.stalled();\n",
      ],
      [renewal, "const sentAt = this.#sent.shift();", "const sentAt = this.#sent.pop();"],
    ],
  },
  {
    name: "answers of a closed stream count",
    edits: [
      [renewal, "if (connection === this.#connection) this.#onAnswer", "this.#onAnswer"],
      [renewal, "    this.#connection?.cancel();\n", ""],
    ],
  },
  {
    name: "a stale answer revives a term",
    edits: [
      [
        session,
        "    this.checkDeadline();\n    for (const { candidacy } of this.places.values()) candidacy?.checkDeadline();\n",
        "",
      ],
      [
        candidacy,
        "  keySeen(sentAt: number): void {\n    this.checkDeadline();\n",
        "  keySeen(sentAt: number): void {\n",
      ],
      [candidacy, "    this.#lapsed = true;\n", ""],
      [proof, "      if (this.passed(now)) return false;\n", ""],
      [
        proof,
        "if (Atomics.compareExchange(this.#words, untilWord, until, over) === until) return true;",
        "return true;",
      ],
    ],
  },
];

const twoProofs = [
  {
    name: "the own key is not checked",
    edits: [
      [candidacy, "Math.min(this.session.deadline, this.#keyProof.until)", "this.session.deadline"],
      [
        line,
        "else if (kv?.createRevision !== each.token || kv.lease !== each.leaseId) each.keyMissing();",
        "else if (kv?.createRevision !== each.token || kv.lease !== each.leaseId) continue;",
      ],
      [line, "        this.#compare(kvs[0], revision, known, sentAt);\n", ""],
    ],
  },
  {
    name: "the lease's deadline does not count",
    edits: [
      [candidacy, "Math.min(this.session.deadline, this.#keyProof.until)", "this.#keyProof.until"],
      [
        session,
        "this.#proof.passed(this.#clock.now())) this.end(this.lapse);",
        "this.#clock.now() < 0) this.end(this.lapse);",
      ],
    ],
  },
  {
    name: "a key counts as seen whatever its lease",
    edits: [
      [line, "each.token === token && each.key === key && each.leaseId === leaseId", "each.token === token"],
      [
        line,
        "kv?.createRevision !== each.token || kv.lease !== each.leaseId",
        "kv?.createRevision !== each.token",
      ],
    ],
  },
  {
    name: "a key counts as seen whoever created it",
    edits: [
      [line, "each.token === token && each.key === key && each.leaseId === leaseId", "each.key === key"],
      [line, "kv?.createRevision !== each.token || kv.lease !== each.leaseId", "kv === undefined"],
    ],
  },
];

const deadlineNotFlag = [
  {
    name: "no loop watches the deadlines",
    edits: [
      [
        session,
        "this.#cancelExpiry = this.#clock.at(this.#proof.until, () => {",
        "this.#cancelExpiry = this.#clock.at(Number.POSITIVE_INFINITY, () => {",
      ],
      [
        term,
        "this.#cancelTimer = this.#clock.at(this.#deadline(), () => {",
        "this.#cancelTimer = this.#clock.at(Number.POSITIVE_INFINITY, () => {",
      ],
    ],
  },
  {
    name: "the role is a flag",
    edits: [[term, "Math.max(0, this.#deadline() - now)", "Math.max(1, this.#deadline() - now)"]],
  },
];

const suspensionCounts = [
  {
    name: "the clock does not count suspension",
    edits: [
      [
        "src/clock.ts",
        "return Math.max(monotonicMs() - this.origin.monotonicMs, bootMs() - this.origin.bootMs);",
        "return monotonicMs() - this.origin.monotonicMs;",
      ],
    ],
  },
];

const beginning = [
  {
    name: "whoever's predecessor has gone leads",
    edits: [
      [
        candidacy,
        "if (position === 0) this.#elect();",
        "if (position === 0 || (moved && position < this.#position + 9 && this.#term === undefined)) this.#elect();",
      ],
    ],
  },
  {
    name: "a term begins on a stale proof",
    edits: [
      [candidacy, "    if (clock.now() >= this.#stopBy) return;\n", ""],
      [
        candidacy,
        "deadline: () => (this.#endCause === undefined ? this.#stopBy : Number.NEGATIVE_INFINITY),",
        "deadline: () => (this.#endCause === undefined ? Math.max(this.#stopBy, clock.now() + 50) : Number.NEGATIVE_INFINITY),",
      ],
    ],
  },
  {
    name: "a view that is older than the own key is believed",
    edits: [[candidacy, "    if (this.line.revision < this.token) return;\n", ""]],
  },
];

const ending = [
  {
    name: "the signal aborts before the role has changed",
    edits: [
      [
        candidacy,
        "    this.#endCause = cause;\n    for",
        "    this.#term?.end(cause);\n    this.#endCause = cause;\n    for",
      ],
      [
        term,
        "    this.#endCause = cause;\n    this.#cancelTimer();\n",
        "    this.#cancelTimer();\n    queueMicrotask(() => {\n      this.#endCause = cause;\n    });\n",
      ],
    ],
  },
  {
    name: "a term without renewal lasts up to the deadline",
    edits: [[candidacy, " - this.#stopTimeoutMs;", ";"]],
  },
  {
    name: "renewal goes on while the work hangs",
    edits: [[rounds, "    session.stopRenewing();\n", ""]],
  },
  {
    name: "renewal goes on while the key is given back",
    edits: [[returns, "      session.stopRenewing();\n", ""]],
  },
  {
    name: "the key is given up before the work has stopped",
    edits: [
      [
        rounds,
        "    await this.#stop(work, candidacy.session, cause, stopTimeoutMs);\n",
        "    void this.#stop(work, candidacy.session, cause, stopTimeoutMs);\n",
      ],
    ],
  },
  {
    name: "the lease is revoked before the work has stopped",
    edits: [
      [
        rounds,
        "    await this.#stop(work, candidacy.session, cause, stopTimeoutMs);\n",
        "    void candidacy.session.revoke();\n    await this.#stop(work, candidacy.session, cause, stopTimeoutMs);\n",
      ],
    ],
  },
  {
    name: "a lost session revokes its lease whatever still runs",
    edits: [[rounds, "    session.leaveRevokingToOwner();\n", ""]],
  },
  {
    name: "a lost term's key is led on again",
    edits: [
      [
        candidacy,
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
      [election, '    candidacy.end("resigned");\n', ""],
      [
        candidacy,
        '  async release(options: CallOptions = {}): Promise<void> {\n    this.end("resigned");\n',
        "  async release(options: CallOptions = {}): Promise<void> {\n",
      ],
    ],
  },
  {
    name: "a member stands again on the same lease",
    edits: [
      [rounds, "  #hasJoined = false;\n", "  #hasJoined = false;\n  #kept: Session | undefined;\n"],
      [
        rounds,
        "    const session = await this.#open();\n",
        "    const kept = this.#kept;\n" +
          "    const session = kept !== undefined && kept.endCause === undefined ? kept : await this.#open();\n" +
          "    this.#kept = session;\n",
      ],
      [
        rounds,
        "const given = returns.give(session, candidacy).then(",
        "const given = (candidacy !== undefined && session.endCause === undefined ? candidacy.release().catch(() => {}) : returns.give(session, candidacy)).then(",
      ],
    ],
  },
];

const oneSource = [
  {
    name: "a watch is resumed one revision too late",
    edits: [
      [
        watch,
        "startRevision: follower.next ?? 0n,",
        "startRevision: follower.next === undefined ? 0n : follower.next === follower.request.startRevision ? follower.next : follower.next + 1n,",
      ],
    ],
  },
  {
    name: "a watch begins one revision too late",
    edits: [[line, "startRevision: revision + 1n }", "startRevision: revision + 2n }"]],
  },
  {
    name: "the line is read apart from the joining, and watched from the later of the two",
    edits: [
      [
        candidacy,
        "        const revision = response.header?.revision ?? 0n;\n",
        "        const later = await session.etcd.call(KV.method.range, byCreation(election + '/'), { idempotent: true });\n" +
          "        const revision = later.response.header?.revision ?? 0n;\n",
      ],
    ],
  },
  {
    name: "a revision is applied event by event",
    edits: [
      [
        line,
        "events: (batch) => this.#apply(batch),",
        "events: (batch) => { for (const event of batch.events) this.#apply({ ...batch, events: [event] }); },",
      ],
    ],
  },
  {
    name: "a part of a revision is applied before the rest has come",
    edits: [
      [watch, "    if (response.fragment) return;\n", ""],
      [watch, "if (follower.next !== undefined && batch.revision < follower.next) continue;", ""],
    ],
  },
  {
    name: "two watches instead of one",
    edits: [
      [
        line,
        "        events: (batch) => this.#apply(batch),",
        "        events: (batch) => mine(batch, false),",
      ],
      [
        line,
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
      [line, "  #watch: Watch | undefined;\n", "  #watch: Watch | undefined;\n  #own2: Watch | undefined;\n"],
      [
        line,
        '    this.#left.abort(closedError("the line"));\n',
        '    this.#left.abort(closedError("the line"));\n    this.#own2?.close();\n',
      ],
    ],
  },
  {
    name: "a waiter does not see that its own key has gone",
    edits: [
      [
        candidacy,
        '    if (own === undefined) {\n      this.end("key-gone");\n      return;\n    }\n',
        "    if (own === undefined) return;\n",
      ],
      [
        candidacy,
        '  keyMissing(): void {\n    this.checkDeadline();\n    this.end("key-gone");\n  }',
        "  keyMissing(): void {}",
      ],
    ],
  },
  {
    name: "the first put is taken for the leader",
    edits: [
      ["src/concurrency/observer.ts", "const { leader } = line;", "const leader = line.candidates.at(-1);"],
    ],
  },
];

const troubleIsNoLoss = [
  {
    name: "a read that fails is a loss",
    edits: [
      [
        audit,
        "      for (const { entry } of batch) {\n        entry.asking = false;\n        entry.dueAt = clock",
        "      for (const { entry, question } of batch) {\n        question.answered([], 1n << 62n, 0);\n" +
          "        entry.asking = false;\n        entry.dueAt = clock",
      ],
    ],
  },
  {
    name: "a keepalive stream that breaks is a loss",
    edits: [[renewal, 'if (remedy === "lease-gone") {', "if (remedy !== undefined) {"]],
  },
  {
    name: "a refused token is kept",
    edits: [[requests, "          this.authentication.refused(token);\n", ""]],
  },
];

const limits = [
  {
    name: "a member of etcd without a leader is waited for",
    edits: [[requests, '...(leaderless ? {} : { hasleader: "true" }),', "...(leaderless ? {} : {}),"]],
  },
];

const storeWentBack = [
  {
    name: "a store that went back is not noticed",
    edits: [
      [history, "if (otherCluster || revision < known.revision) {", "if (otherCluster && revision < 0n) {"],
      [line, "if (revision < known) {", "if (revision < 0n) {"],
      [candidacy, 'if (this.#term !== undefined) this.end("store-restored");', ""],
    ],
  },
];

const guardedDeletes = [
  {
    name: "deletes are not guarded",
    edits: [
      [
        "src/concurrency/own-key.ts",
        "const compare = [created(key, token)];",
        "const compare = [created(key, token)].slice(1);",
      ],
    ],
  },
  {
    name: "a key that was lost by the deadline is left behind",
    edits: [
      [
        returns,
        '      const gone = session.endCause === "lease-gone";\n',
        '      const gone = session.endCause === "lease-gone" || session.endCause === "deadline";\n',
      ],
    ],
  },
];

const usersCallbacks = [
  {
    name: "work that throws ends nothing",
    edits: [[work, '      onOver("failed");\n', ""]],
  },
  {
    name: "the next work begins beside one that hangs",
    edits: [[rounds, "    await work.settled;\n", ""]],
  },
  {
    name: "tasks that share a session do not take turns",
    edits: [["src/concurrency/mutex.ts", "    await unlessAborted(Promise.all(before), signal);\n", ""]],
  },
];

const comingBack = [
  {
    name: "a member that lost its lead does not come back",
    edits: [
      [
        rounds,
        "      if (cause !== undefined && this.#mustExit(cause)) await this.#exit(cause);\n",
        '      if (cause === "deadline") return;\n',
      ],
    ],
  },
];

const takingOverLate = [
  {
    name: "nobody waits after the end of an earlier key",
    edits: [
      [takeover, "for (const [, at] of unmarked) this.#readyAt = Math.max(this.#readyAt, at + delayMs);", ""],
    ],
  },
  {
    name: "nobody waits after joining",
    edits: [
      [takeover, "this.#readyAt = etcd.clock.now() + options.delayMs;", "this.#readyAt = etcd.clock.now();"],
    ],
  },
  {
    name: "the mark of another key excuses",
    edits: [
      [
        takeover,
        "const success = tokens.map((token) => getOp(markKey(this.#options.marksPrefix, token)));",
        "const success = tokens.map(() => getOp(this.#options.marksPrefix, { prefix: true }));",
      ],
      [takeover, "recent.filter(([token]) => !marked.has(token));", "marked.size > 0 ? [] : recent;"],
    ],
  },
];

const choosing = [
  ...[
    ["a pause", "    created(pauseKey(election, metaPrefix), 0n),\n"],
    ["the leader's own key", "    created(leader.key, leader.token),\n"],
    ["the key of whoever is to lead", "    created(target.key, target.token),\n"],
  ].map(([what, text]) => ({
    name: `a handover does not compare ${what}`,
    edits: [[clearance, text, ""]],
  })),
  {
    name: "a leader takes a request to the one before for its own",
    edits: [
      [
        step,
        "if (leads && request?.token === token && request.answer",
        "if (leads && request !== undefined && request.answer",
      ],
    ],
  },
  {
    name: "candidates are passed over that do not come back",
    edits: [
      [
        plan,
        "const strangers = between.filter((each) => !comesBack(survey, each));",
        "const strangers = between.slice(0, 0);",
      ],
    ],
  },
  {
    name: "nobody makes room for who is to be preferred",
    edits: [
      [
        step,
        "const higher = at === 1 ? highest(of, behind) : undefined;",
        "const higher = at === -2 ? highest(of, behind) : undefined;",
      ],
    ],
  },
  {
    name: "nobody hands back to who is to be preferred",
    edits: [[step, "return trouble === undefined ? switchBack(of, behind) : none;", "return none;"]],
  },
];

/** Every mutation, in the order of the rules. */
export const mutations = [
  ...deadlineFromSend,
  ...twoProofs,
  ...deadlineNotFlag,
  ...suspensionCounts,
  ...beginning,
  ...ending,
  ...oneSource,
  ...troubleIsNoLoss,
  ...limits,
  ...storeWentBack,
  ...guardedDeletes,
  ...usersCallbacks,
  ...comingBack,
  ...takingOverLate,
  ...choosing,
];

/**
 * The changed files of a mutation, by name. `read` gives the text of a source.
 * @throws where a text to replace is not there exactly once: it has moved, and nothing would be broken.
 */
export function mutated({ name, edits }, read) {
  const files = new Map();
  for (const [file, from, to] of edits) {
    const text = files.get(file) ?? read(file);
    const times = text.split(from).length - 1;
    if (times !== 1) throw new Error(`"${name}": ${file} has ${times} times, not once:\n${from}`);
    files.set(
      file,
      text.replace(from, () => to),
    );
  }
  return files;
}
