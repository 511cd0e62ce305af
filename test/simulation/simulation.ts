import type { StoreSnapshot } from "../../src/devserver/store.ts";
import { toBytes, toText } from "../../src/etcd/bytes.ts";
import {
  Event_EventType,
  type TxnRequest,
  type WatchRequest,
  type WatchResponse,
} from "../../src/etcd/gen/etcd_pb.ts";
import { Agenda } from "./agenda.ts";
import { Cluster } from "./cluster.ts";
import { troubles } from "./faults.ts";
import { Host } from "./host.ts";
import { Link, type Monitor } from "./network.ts";
import { CampaignProgram, MemberProgram, ObserverProgram, type Program, type Work } from "./programs.ts";
import { Random, seedOf } from "./random.ts";
import type { Fault, FaultKind, Scenario } from "./story.ts";
import { glance, within } from "./time-source.ts";
import { type Removal, type TrueKey, Truth } from "./truth.ts";

/** A broken invariant. */
export interface Violation {
  readonly rule: string;
  readonly at: number;
  readonly text: string;
}

export interface Outcome {
  readonly seed: number;
  readonly violation: Violation | undefined;
  readonly terms: number;
  readonly failovers: number;
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  readonly events: number;
  /** Overlaps of roles where etcd itself had removed the older leader's key. */
  readonly excused: number;
  readonly excusedMs: number;
  /** How long after the last fault everybody stood in line and one led. */
  readonly settledAfterMs: number;
  readonly notes: readonly string[];
}

interface Slot {
  readonly kind: Scenario["processes"][number];
  program: Program;
  incarnation: number;
}

interface Leading {
  readonly program: Program;
  readonly token: bigint;
  readonly key: string;
  readonly lease: bigint;
}

/** A watch of a process, across all the streams that it has been on. */
interface FollowedWatch {
  /** The last revision of which it was told, or the one before its first. */
  last: bigint;
}

/** How long the machine may let a process act after its sleep: the product's timers nap that long. */
const napMs = 1_000;

/** One run: processes, their network, etcd, what happens to them, and what must hold all the while. */
export class Simulation {
  readonly scenario: Scenario;
  readonly agenda: Agenda = new Agenda();
  readonly truth: Truth;
  readonly cluster: Cluster;
  readonly slots: (Slot | undefined)[] = [];
  readonly recording: boolean;
  readonly notes: string[] = [];
  readonly backups: Map<Fault, StoreSnapshot> = new Map();
  readonly monitor: Monitor;
  readonly #random: Random;
  readonly #links = new Map<string, Link>();
  /** Everybody who ran, until he is gone. */
  readonly #programs = new Set<Program>();
  readonly #byHost = new Map<Host, Program>();
  readonly #works = new Set<Work>();
  readonly #leading = new Map<Program, Leading>();
  /** Claims that are over: a role that went, or a key whose deletion was sent. */
  readonly #over = new Set<string>();
  readonly #faults: Partial<Record<FaultKind, number>> = {};
  readonly #watches = new WeakMap<object, Map<bigint, FollowedWatch>>();
  readonly #followed = new Map<string, FollowedWatch>();
  readonly #knownRevision = new WeakMap<Program, { revision: bigint; cluster: bigint }>();
  readonly #askedAt = new WeakMap<object, { revision: bigint; cluster: bigint }>();
  readonly #mustStandBy = new Map<Program, string>();
  #highest: { token: bigint; history: number } = { token: 0n, history: 0 };
  #terms = 0;
  #failovers = 0;
  #workEnds = 0;
  #events = 0;
  #excused = 0;
  #excusedMs = 0;
  #overlapping = false;
  #checkedAt = 0;
  #settledAt: number | undefined;
  #settledLeader: string | undefined;
  #violation: Violation | undefined;

  constructor(scenario: Scenario, recording: boolean = false) {
    const { seed } = scenario;
    this.scenario = scenario;
    this.recording = recording;
    this.#random = new Random(seedOf(seed, 2));
    this.truth = new Truth(scenario.election, () => this.agenda.now);
    this.truth.onRemoved = (removal) => this.#onRemoved(removal);
    this.truth.onPut = (key) => this.note(`etcd: ${key.key} = ${key.value}, token ${key.token}`);
    this.cluster = new Cluster({
      agenda: this.agenda,
      random: new Random(seedOf(seed, 3)),
      truth: this.truth,
      endpoints: scenario.endpoints,
      auth: scenario.auth,
      mostTtlSeconds: scenario.mostTtlSeconds,
    });
    for (const member of this.cluster.members) {
      member.onReset = () => {
        for (const [name, link] of this.#links) if (name.endsWith(` ${member.name}`)) link.reset();
      };
    }
    this.monitor = {
      sent: (host, method, request, stream) => this.#sent(host, method, request, stream),
      heard: (host, method, answer, question) => this.#heard(host, method, answer, question),
    };
  }

  get now(): number {
    return this.agenda.now;
  }

  get ttlMs(): number {
    return this.scenario.ttlSeconds * 1_000;
  }

  /** When the last fault has no aftermath any more: a term that it spoilt may end a TTL later. */
  get #stillAt(): number {
    return this.scenario.quietAt + this.ttlMs + 2_000;
  }

  /** How long after the last fault all must be well. */
  get patienceMs(): number {
    return 3 * this.ttlMs + 10_000;
  }

  note(text: string): void {
    if (this.recording) this.notes.push(`${(this.now / 1_000).toFixed(3).padStart(8)}  ${text}`);
  }

  violation(rule: string, text: string): void {
    if (this.#violation !== undefined) return;
    this.note(`VIOLATION ${rule}: ${text}`);
    this.#violation = { rule, at: this.now, text };
  }

  link(slot: number, endpoint: string): Link {
    const name = `${slot} ${endpoint}`;
    let link = this.#links.get(name);
    if (link === undefined) {
      const member = this.cluster.members.find((each) => each.name === endpoint);
      if (member === undefined) throw new RangeError(`there is no ${endpoint}`);
      link = new Link(member, this.agenda, new Random(seedOf(this.scenario.seed, 4, this.#links.size)));
      this.#links.set(name, link);
    }
    return link;
  }

  /** The process whose key is the first of the line. */
  leaderSlot(): number | undefined {
    const owner = this.#ownerOf(this.truth.line[0]);
    const at = owner === undefined ? -1 : this.slots.findIndex((slot) => slot?.program === owner);
    return at < 0 ? undefined : at;
  }

  /** Starts the process of a slot, the first one or another. */
  start(at: number): void {
    const { seed, drift } = this.scenario;
    const kind = this.scenario.processes[at] ?? "member";
    const incarnation = (this.slots[at]?.incarnation ?? 0) + 1;
    const random = new Random(seedOf(seed, 5, at));
    const rate = 1 + drift * (random.chance(0.7) ? random.pick([-1, 1]) : random.between(-1, 1));
    const id = `${"abcdefgh"[at]}${incarnation}`;
    const host = new Host(id, this.agenda, rate, seedOf(seed, 6, at, incarnation));
    const Kind = { member: MemberProgram, campaigner: CampaignProgram, observer: ObserverProgram }[kind];
    const program = glance(host, () => new Kind(this, host, at, id));
    this.slots[at] = { kind, program, incarnation };
    this.#programs.add(program);
    this.#byHost.set(host, program);
    this.note(`${id} starts`);
    host.deliver("orders", () => program.start());
  }

  /** The process of a slot vanishes. */
  crash(at: number): boolean {
    const { program } = this.slots[at] ?? {};
    if (program === undefined || !program.host.alive || program.leaving) return false;
    this.note(`${program.id} crashes`);
    program.kill();
    this.#gone(program);
    return true;
  }

  #gone(program: Program): void {
    this.#programs.delete(program);
    this.#byHost.delete(program.host);
    this.#leading.delete(program);
    for (const work of this.#works) if (work.program === program) this.#works.delete(work);
  }

  /** How long a work that ends by itself may take: none does when all shall be well. */
  workMayEndWithin(): number {
    return this.#workEnds++ < 12 ? Math.max(0, this.scenario.quietAt - 1_000 - this.now) : 0;
  }

  /** Who put a key, by its lease. */
  #ownerOf(key: TrueKey | undefined): Program | undefined {
    const owner = key === undefined ? undefined : this.cluster.leases.get(key.lease)?.owner;
    return typeof owner === "object" ? this.#byHost.get(owner) : undefined;
  }

  workStarted(work: Work): void {
    const { key, token, program } = work;
    this.#terms++;
    this.note(`${program.id} WORKS, token ${token}`);
    if (!this.truth.everLed(key, token) && this.now > this.truth.restoredAt + this.ttlMs) {
      this.violation(
        "never-led",
        `${program.id} is told that it leads with ${key}@${token}, which never was the first`,
      );
    }
    if (this.#over.has(this.#claim(key, token))) {
      this.violation("old-claim", `${program.id} leads again on ${key}@${token}, a claim that was over`);
    }
    const { history } = this.truth;
    if (this.#highest.history === history && token <= this.#highest.token && !this.#isExcused(key, token)) {
      this.violation("token-fell", `${program.id} leads with token ${token} after ${this.#highest.token}`);
    }
    if (this.#highest.history !== history || token > this.#highest.token) this.#highest = { token, history };
    for (const other of this.#works) {
      if (other.program.host === program.host) {
        this.violation("two-works", `${program.id} has two works at once, ${other.token} and ${token}`);
      }
    }
    if (this.#terms > 1) this.#failovers++;
    this.#works.add(work);
  }

  workSettled(work: Work): void {
    if (this.#works.delete(work)) this.note(`${work.program.id} stops working, token ${work.token}`);
  }

  /** Keys that no process of ours put. */
  removeStrangers(): void {
    if (this.cluster.paused) {
      this.cluster.hold(() => this.removeStrangers());
      return;
    }
    this.truth.as("operator", () => {
      for (const { key, lease } of this.truth.line) {
        if (lease === 0n) this.cluster.store.deleteRange({ key: toBytes(key) });
      }
    });
  }

  /** Runs the story, one event a turn of the event loop, and judges after each. */
  async run(): Promise<Outcome> {
    const { scenario, agenda } = this;
    const onRejection = (reason: unknown): void => {
      const text = reason instanceof Error ? (reason.stack ?? reason.message) : JSON.stringify(reason);
      this.violation("unhandled-rejection", text);
    };
    const onWarning = (warning: Error): void => this.violation("warning", String(warning));
    process.on("unhandledRejection", onRejection);
    process.on("warning", onWarning);
    scenario.processes.forEach((_, at) => {
      agenda.at(this.#random.between(0, 600), () => this.start(at));
    });
    for (const fault of scenario.faults) this.#schedule(fault);
    const poll = (): void => {
      this.#pollSettled();
      agenda.at(this.now + 250, poll);
    };
    agenda.at(scenario.quietAt, () => {
      // A restore may have brought them back.
      this.removeStrangers();
      poll();
    });
    const end = scenario.quietAt + this.patienceMs + 3 * this.ttlMs + 2_000;
    await new Promise<void>((resolve) => this.#pump(end, resolve));
    if (this.#violation === undefined) this.#judgeEnd();
    for (const { host } of this.#programs) host.kill();
    within(undefined, () => {});
    process.off("unhandledRejection", onRejection);
    process.off("warning", onWarning);
    return {
      seed: scenario.seed,
      violation: this.#violation,
      terms: this.#terms,
      failovers: this.#failovers,
      faults: this.#faults,
      events: this.#events,
      excused: this.#excused,
      excusedMs: this.#excusedMs,
      settledAfterMs: (this.#settledAt ?? Number.POSITIVE_INFINITY) - scenario.quietAt,
      notes: this.notes,
    };
  }

  /** Node drains the microtasks between two immediates, so that each event has its consequences before the next. */
  #pump(end: number, done: () => void): void {
    const batch = 32;
    let over = false;
    const step = (): void => {
      if (over) return;
      within(undefined, () => this.#check());
      const enough =
        this.#settledAt !== undefined &&
        this.now > Math.max(this.#settledAt, this.#stillAt) + 0.5 * this.ttlMs;
      const next = this.#violation === undefined && !enough ? this.agenda.next(end) : undefined;
      if (next === undefined) {
        over = true;
        done();
        return;
      }
      this.#events++;
      next();
    };
    const more = (): void => {
      if (over) return;
      for (let i = 0; i < batch; i++) setImmediate(step);
      setImmediate(more);
    };
    more();
  }

  #schedule(fault: Fault): void {
    const { agenda } = this;
    if (fault.kind === "restore" || fault.kind === "other-cluster") {
      // A backup of some time before; sometimes of the very first moment.
      const age = fault.x < 0.2 ? fault.at : 300 + fault.x * 12_000;
      agenda.at(Math.max(0, fault.at - age), () => this.backups.set(fault, this.cluster.store.snapshot()));
    }
    agenda.at(fault.at, () => {
      const end = troubles[fault.kind](this, fault);
      this.note(
        `FAULT ${fault.kind}${fault.forMs > 0 ? ` for ${fault.forMs} ms` : ""}${end === undefined ? " (nothing to hit)" : ""}`,
      );
      if (end === undefined) return;
      this.#faults[fault.kind] = (this.#faults[fault.kind] ?? 0) + 1;
      agenda.at(fault.at + fault.forMs, () => {
        if (fault.forMs > 0) this.note(`end of ${fault.kind}`);
        end();
      });
    });
  }

  // What the processes send and hear

  #programOf(host: Host): Program | undefined {
    return this.#byHost.get(host);
  }

  #sent(host: Host, method: string, request: unknown, stream: object | undefined): void {
    if (method === "Txn") this.#sentTxn(host, request as TxnRequest);
    if (method === "DeleteRange")
      this.violation("unguarded-delete", `${host.name} deletes without a comparison`);
    if (method === "Watch" && stream !== undefined) this.#sentWatch(host, request as WatchRequest, stream);
    if (stream !== undefined && (method === "Txn" || method === "Range")) {
      const program = this.#programOf(host);
      const known = program === undefined ? undefined : this.#knownRevision.get(program);
      if (known !== undefined) this.#askedAt.set(stream, { ...known });
    }
  }

  #sentTxn(host: Host, { compare, success }: TxnRequest): void {
    for (const { request } of success) {
      if (request.case !== "requestDeleteRange") continue;
      const key = toText(request.value.key);
      const guard = compare.find(
        (each) => each.targetUnion.case === "createRevision" && toText(each.key) === key && each.result === 0,
      );
      if (guard?.targetUnion.case !== "createRevision") {
        this.violation("unguarded-delete", `${host.name} deletes ${key} whoever put it`);
        continue;
      }
      const token = guard.targetUnion.value;
      this.#over.add(this.#claim(key, token));
      for (const work of this.#works) {
        if (work.host === host && work.key === key && work.token === token && !work.program.deletesAtOnce) {
          this.violation("gave-up-early", `${host.name} deletes ${key}@${token} while its work still runs`);
        }
      }
    }
  }

  /** A watch that is opened again goes on where it stopped, or it may miss something. */
  #sentWatch(host: Host, { requestUnion }: WatchRequest, stream: object): void {
    let watches = this.#watches.get(stream);
    if (watches === undefined) {
      watches = new Map();
      this.#watches.set(stream, watches);
    }
    if (requestUnion.case === "cancelRequest") watches.delete(requestUnion.value.watchId);
    if (requestUnion.case !== "createRequest") return;
    const { watchId, startRevision, key } = requestUnion.value;
    const name = `${host.name} ${toText(key)} ${watchId}`;
    const known = this.#followed.get(name);
    const followed = known ?? { last: startRevision - 1n };
    watches.set(watchId, followed);
    if (known === undefined) {
      const program = this.#programOf(host);
      const read = program === undefined ? undefined : this.#knownRevision.get(program);
      if (read !== undefined && startRevision > read.revision + 1n) {
        this.violation(
          "watch-too-late",
          `${host.name} watches from ${startRevision}, having read ${read.revision}`,
        );
      }
      this.#followed.set(name, followed);
    } else if (startRevision > known.last + 1n) {
      this.violation("watch-too-late", `${host.name} goes on at ${startRevision} after ${known.last}`);
    }
  }

  #heard(host: Host, method: string, answer: unknown, question: object): void {
    if (method === "Watch") this.#heardWatch(host, answer as WatchResponse, question);
    if (method !== "Txn" && method !== "Range") return;
    const { header } = answer as { header?: { revision: bigint; clusterId: bigint } };
    const program = this.#programOf(host);
    if (header === undefined || program === undefined) return;
    const asked = this.#askedAt.get(question);
    const known = this.#knownRevision.get(program);
    const wentBack =
      asked !== undefined &&
      ((asked.cluster !== 0n && header.clusterId !== asked.cluster) || header.revision < asked.revision);
    if (wentBack) {
      // What was known before counts no more; requests from before are answered after.
      if (known !== undefined && known.revision >= asked.revision && known.cluster === asked.cluster) {
        const leading = this.#leading.get(program);
        if (leading !== undefined) this.#mustStandBy.set(program, `${leading.key}@${leading.token}`);
        this.#knownRevision.set(program, { revision: header.revision, cluster: header.clusterId });
      }
    } else if (
      known === undefined ||
      (header.revision > known.revision && header.clusterId === known.cluster)
    ) {
      this.#knownRevision.set(program, { revision: header.revision, cluster: header.clusterId });
    }
  }

  #heardWatch(host: Host, response: WatchResponse, stream: object): void {
    const followed = this.#watches.get(stream)?.get(response.watchId);
    if (followed === undefined || response.events.length === 0) return;
    const program = this.#programOf(host);
    const leading = program === undefined ? undefined : this.#leading.get(program);
    for (const { type, kv } of response.events) {
      if (kv === undefined) continue;
      if (program === undefined || leading?.key !== toText(kv.key) || kv.modRevision <= leading.token)
        continue;
      if (type === Event_EventType.DELETE || kv.lease !== leading.lease) {
        this.#mustStandBy.set(program, `${leading.key}@${leading.token}`);
      }
    }
    const last = response.events.at(-1)?.kv?.modRevision;
    if (last !== undefined && !response.fragment) followed.last = last;
  }

  /** The lease that a key's name stands for. */
  #leaseOf(key: string): bigint {
    const hex = key.slice(key.lastIndexOf("/") + 1);
    return /^[0-9a-f]+$/.test(hex) ? BigInt(`0x${hex}`) : -1n;
  }

  // What must hold

  /** A claim to a key, within one history of the store. */
  #claim(key: string, token: bigint): string {
    return `${this.truth.history} ${key}@${token}`;
  }

  #onRemoved({ key, by }: Removal): void {
    const who = typeof by === "string" ? by : by.name;
    this.note(`etcd: ${key.key} (${key.value}, token ${key.token}) is gone, by ${who}`);
    if (typeof by === "string") return;
    for (const work of this.#works) {
      if (work.key !== key.key || work.token !== key.token || work.program.deletesAtOnce) continue;
      this.violation(
        "gave-up-early",
        `${who} removed ${key.key}@${key.token} while ${work.program.id}'s work runs`,
      );
    }
    const owner = this.cluster.leases.get(key.lease)?.owner;
    if (owner !== undefined && owner !== by) {
      this.violation("foreign-delete", `${who} removed ${key.key}@${key.token}, which is not its own`);
    }
  }

  /** Whether etcd itself took the key, so that its owner may lead a little longer. */
  #isExcused(key: string, token: bigint): boolean {
    const removal = this.truth.removal(key, token);
    const taken = removal !== undefined && (removal.by === "operator" || removal.by === "restore");
    if (taken && this.now <= removal.at + this.ttlMs) return true;
    return this.now <= this.truth.restoredAt + this.ttlMs;
  }

  #check(): void {
    const now: Leading[] = [];
    for (const program of this.#programs) {
      const { host } = program;
      const term = host.alive ? glance(host, () => program.leads()) : undefined;
      const before = this.#leading.get(program);
      if (before !== undefined && before.token !== term?.token) {
        this.#leading.delete(program);
        this.#over.add(this.#claim(before.key, before.token));
        this.note(`${program.id} leads no more, token ${before.token}`);
      }
      if (term !== undefined) {
        let leading = this.#leading.get(program);
        if (leading === undefined) {
          leading = { program, token: term.token, key: term.key, lease: this.#leaseOf(term.key) };
          this.#leading.set(program, leading);
          this.note(`${program.id} LEADS, token ${term.token}`);
          if (this.#over.has(this.#claim(term.key, term.token))) {
            this.violation(
              "revived",
              `${program.id} leads again on ${term.key}@${term.token}, a claim that was over`,
            );
          }
        }
        now.push(leading);
        this.#checkKey(leading);
        this.#checkClaim(
          leading,
          glance(host, () => term.remainingMs),
        );
        const claim = this.#mustStandBy.get(program);
        if (claim === `${term.key}@${term.token}` && host.caughtUp) {
          this.violation("knew-and-led", `${program.id} was told that ${claim} is gone, and still leads`);
        }
      }
      if (program instanceof MemberProgram) this.#checkChanges(program);
    }
    if (this.#mustStandBy.size > 0) this.#mustStandBy.clear();
    this.#checkOverlap(now);
    this.#checkWorks();
    this.#checkedAt = this.now;
  }

  #checkKey({ program, key, token }: Leading): void {
    const found = this.truth.get(key);
    const { host } = program;
    const first = this.truth.line[0];
    const stands = found?.token === token && this.cluster.leases.get(found.lease)?.owner === host;
    if ((stands && first === found) || this.#isExcused(key, token)) return;
    if (stands) {
      // Only a store that went back can put anybody before a leader.
      const text = `${program.id} leads with ${key}@${token} behind ${first?.key}@${first?.token}`;
      this.violation("not-first", text);
      return;
    }
    const removal = this.truth.removal(key, token);
    const by =
      removal === undefined ? "nobody" : typeof removal.by === "string" ? removal.by : removal.by.name;
    const rule =
      by === "etcd" ? "lease-outlived" : by === "operator" || by === "restore" ? "key-outlived" : "no-key";
    this.violation(
      rule,
      `${program.id} leads with ${key}@${token}, which ${by} removed ${(this.now - (removal?.at ?? 0)).toFixed(1)} ms ago`,
    );
  }

  /** Nobody may count on his lease for longer than etcd has promised, even if nothing comes of it. */
  #checkClaim({ program, token, key, lease: id }: Leading, remainingMs: number): void {
    const lease = this.cluster.leases.get(id);
    if (lease === undefined) return;
    const { host, deletesAtOnce } = program;
    // A member's claim ends so long before its proof does.
    const stopTimeoutMs = deletesAtOnce ? 0 : lease.ttlMs / 10;
    const over = this.now + (remainingMs + stopTimeoutMs) / host.rate - (lease.renewedAt + lease.ttlMs);
    if (over > 0) {
      this.violation(
        "over-claimed",
        `${program.id} counts on ${key}@${token} for ${over.toFixed(1)} ms longer than its lease is promised`,
      );
    }
  }

  #checkChanges(program: MemberProgram): void {
    const { last, host } = program;
    if (!host.caughtUp || last?.role !== "leader") return;
    if (last.term?.signal.aborted === true) {
      this.violation(
        "changes-ended-term",
        `${program.id} was told last that it leads, with a term that has ended`,
      );
    }
  }

  #checkOverlap(leading: readonly Leading[]): void {
    if (leading.length < 2) {
      this.#overlapping = false;
      return;
    }
    if (leading.filter(({ key, token }) => !this.#isExcused(key, token)).length > 1) {
      const names = leading.map(({ program, token }) => `${program.id} (token ${token})`).join(" and ");
      this.violation("two-leaders", `${names} lead at once`);
    }
    if (!this.#overlapping) this.#excused++;
    else this.#excusedMs += this.now - this.#checkedAt;
    this.#overlapping = true;
  }

  /** Whether a work acts now: the process runs, and has seen what happened while it did not. */
  #acts({ host }: Work): boolean {
    return host.caughtUp && this.now - host.wokenAt > napMs + 20;
  }

  /** Whether a work runs late for a reason that no product can help. */
  #mayRunLate(work: Work): boolean {
    if (work.stubborn) return true;
    // Where its process was stopped, what is left of the time to stop may be too little.
    const stopped = Math.max(work.host.stoppedAt, work.host.resumedAt);
    if (work.needMs > 0 && this.now - stopped < this.ttlMs) return true;
    return this.#isExcused(work.key, work.token);
  }

  #checkWorks(): void {
    if (this.#works.size === 0) return;
    const acting: Work[] = [];
    for (const work of this.#works) {
      if (this.#works.size === 1 && this.truth.get(work.key)?.token === work.token) return;
      if (!this.#acts(work) || this.#mayRunLate(work)) continue;
      acting.push(work);
      const removal = this.truth.removal(work.key, work.token);
      // Timers are up to a few milliseconds late; the margin is there for that.
      if (removal !== undefined && removal.by === "etcd") {
        this.violation(
          "work-outlived",
          `${work.program.id} works with ${work.key}@${work.token}, whose lease is over`,
        );
      }
    }
    if (acting.length > 1) {
      const names = acting.map(({ program, token }) => `${program.id} (token ${token})`).join(" and ");
      this.violation("two-workers", `${names} work at once`);
    }
  }

  // What must become so when all is well again

  /** What is still missing to be well: nothing, if undefined. */
  #missing(): string | undefined {
    const { line } = this.truth;
    const standing = [...this.#programs].filter(
      (program) => program.standing && program.host.alive && !program.resting,
    );
    if (standing.length === 0) return undefined;
    const leaders = standing.filter((program) => glance(program.host, () => program.leads()) !== undefined);
    if (leaders.length !== 1)
      return `${leaders.length} lead: ${standing.map((each) => `${each.id} ${each.describe()}`).join(", ")}`;
    const [leader] = leaders as [Program];
    if (this.#ownerOf(line[0]) !== leader)
      return `${leader.id} leads, and ${line[0]?.value ?? "nobody"} is first in line`;
    for (const program of standing) {
      const keys = line.filter((key) => this.#ownerOf(key) === program);
      if (keys.length !== 1)
        return `${program.id} (${program.describe()}) has ${keys.length} keys in the line`;
    }
    const stray = line.find((key) => !standing.some((program) => program === this.#ownerOf(key)));
    return stray === undefined ? undefined : `${stray.key} (${stray.value}) is in the line, and nobody's`;
  }

  #pollSettled(): void {
    const missing = this.#missing();
    const leader = this.truth.line[0];
    if (missing !== undefined) {
      if (this.now < this.#stillAt) {
        this.#settledAt = undefined;
      } else if (this.#settledAt !== undefined) {
        this.violation("unsettled", `without any fault: ${missing}`);
      } else if (this.now > this.scenario.quietAt + this.patienceMs) {
        this.violation(
          "not-settled",
          `${Math.round(this.now - this.scenario.quietAt)} ms after the last fault: ${missing}`,
        );
      }
      return;
    }
    if (this.#settledAt === undefined || this.now < this.#stillAt) {
      if (this.#settledAt === undefined) this.note("all is well");
      this.#settledAt ??= this.now;
      this.#settledLeader = `${leader?.key}@${leader?.token}`;
    } else if (this.#settledLeader !== `${leader?.key}@${leader?.token}`) {
      this.violation("unsettled", "another leads without any fault");
    }
  }

  #judgeEnd(): void {
    for (const program of this.#programs) {
      const { host, id } = program;
      if (!host.alive) continue;
      const timers = host.clock.pending;
      if (timers > 25) this.violation("timers", `${id} has ${timers} timers at the end`);
      if (program.underWay > 8) this.violation("streams", `${id} has ${program.underWay} streams at the end`);
      if (program.listeners > 8)
        this.violation("listeners", `${id} has ${program.listeners} listeners at the end`);
      if (program.left && (timers > 0 || program.underWay > 0)) {
        this.violation(
          "left-behind",
          `${id} has left, with ${timers} timers and ${program.underWay} streams`,
        );
      }
    }
  }
}
