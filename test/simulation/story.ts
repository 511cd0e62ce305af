import { Random, seedOf } from "./random.ts";

/** Every kind of trouble, with how often it is drawn. */
const weights = {
  // Processes
  stop: 5,
  stall: 4,
  suspend: 4,
  crash: 4,
  leave: 3,
  "clock-rate": 3,
  // The user's callbacks
  "work-throws": 4,
  "work-hangs": 7,
  "work-ignores": 7,
  // The network of one process
  cut: 5,
  "cut-one": 3,
  "half-open-out": 3,
  "half-open-in": 4,
  break: 3,
  delay: 3,
  late: 3,
  reorder: 3,
  duplicate: 3,
  starve: 4,
  "starve-renewals": 4,
  "starve-requests": 4,
  // One member of etcd
  "endpoint-stop": 3,
  "endpoint-freeze": 3,
  "endpoint-isolate": 3,
  "endpoint-slow": 3,
  "endpoint-starve": 2,
  "member-removed": 3,
  "member-added": 3,
  // All of etcd
  "raft-leader": 3,
  outage: 3,
  compaction: 3,
  "no-space": 2,
  "auth-expiry": 6,
  // Operators
  "delete-key": 4,
  "delete-two": 3,
  "delete-prefix": 3,
  "revoke-lease": 3,
  "overwrite-key": 3,
  stranger: 3,
  restore: 2,
  "other-cluster": 2,
} as const;

/** What operators choose, in stories that are steered; drawn apart, so that the others stay as they are. */
const choices = { handover: 3, "handover-to": 4, pause: 2 } as const;

/** What follows from those, and is counted when it happens. */
const consequences = ["restart", "overtaken", "dropped-arrived"] as const;

/** Kinds whose effect comes later, and perhaps never: counted when it does. */
const countedLater: ReadonlySet<FaultKind> = new Set(["work-hangs", "work-ignores"]);

export type DrawnKind = keyof typeof weights;
type ChosenKind = keyof typeof choices;
export type FaultKind = DrawnKind | ChosenKind | (typeof consequences)[number];

/** One trouble of a story; all that it needs beside its kind is numbers, so that it can be left out or repeated. */
export interface Fault {
  readonly kind: DrawnKind | ChosenKind;
  readonly at: number;
  readonly forMs: number;
  /** The leader of that moment, rather than the process that `x` picks. */
  readonly leader: boolean;
  /** In [0, 1), for whatever is to be picked. */
  readonly x: number;
  readonly y: number;
}

/** How members are to be preferred, where that differs. */
export interface Preference {
  /** By the place of the process. */
  readonly priorities: readonly number[];
  readonly switchBackAfterMs: number | undefined;
}

/** A run: how things are, and what happens. */
export interface Scenario {
  readonly seed: number;
  readonly election: string;
  readonly processes: readonly ("member" | "campaigner" | "mutex" | "observer")[];
  readonly endpoints: number;
  readonly ttlSeconds: number;
  /** What etcd grants at most, whatever is asked for. */
  readonly mostTtlSeconds: number;
  readonly auth: boolean;
  readonly prepares: boolean;
  /** Every member also observes, through its own client. */
  readonly observed: boolean;
  /** Members wait so long where the key of a leader that still acts may have been removed; 0 for not at all. */
  readonly takeoverDelayMs: number;
  /** Of a story in which leaders are also chosen. */
  readonly preference: Preference | undefined;
  /** Nothing happens that may cost anybody the lead or the place in line. */
  readonly calm: boolean;
  /** How much clocks may differ from true time: 0.01 is one percent. */
  readonly drift: number;
  readonly faults: readonly Fault[];
  /** When the last fault is over. */
  readonly quietAt: number;
}

/** Trouble that must cost nobody anything, one at a time, with three members of etcd and a TTL of 5 s. */
const harmless: readonly DrawnKind[] = [
  ...(["endpoint-stop", "endpoint-freeze", "endpoint-isolate", "endpoint-slow", "endpoint-starve"] as const),
  ...(["member-removed", "member-added", "raft-leader", "compaction", "no-space", "auth-expiry"] as const),
  ...(["cut-one", "break", "starve", "clock-rate"] as const),
];

/** Every kind, with how often it is drawn. */
const kinds = Object.entries(weights) as [DrawnKind, number][];

/** Everything that must occur often. */
export const faultKinds: readonly FaultKind[] = [
  ...kinds.map(([kind]) => kind),
  ...(Object.keys(choices) as ChosenKind[]),
  ...consequences,
];

export function isCountedLater(kind: FaultKind): boolean {
  return countedLater.has(kind);
}

/** The story of a seed. */
export function scenarioOf(seed: number): Scenario {
  const random = new Random(seedOf(seed, 1));
  const members = random.pick([3, 3, 3, 3, 4, 4, 5]);
  const takesOverLate = random.chance(0.15);
  const processes: Scenario["processes"][number][] = Array.from({ length: members }, () => "member");
  // Who knows no such delay would lead too soon.
  if (!takesOverLate && random.chance(0.35)) processes[random.below(members)] = "campaigner";
  if (!takesOverLate && random.chance(0.25)) processes[random.below(members)] = "mutex";
  if (random.chance(0.25)) processes.push("observer");
  const calm = !takesOverLate && random.chance(0.08);
  const ttlSeconds = calm ? random.pick([5, 6]) : random.pick([2, 2, 2, 3, 3, 4, 5, 6]);
  const auth = random.chance(0.5);
  const faults: Fault[] = [];
  let at = random.between(500, 4_000);
  const count = 12 + random.below(4);
  while (faults.length < (calm ? count / 2 : count)) {
    if (calm) {
      const drawn = faultAt(random, at, ttlSeconds * 1_000, auth, calmKind(random, auth));
      // A raft election that outlasts an attempt may swallow two renewals in a row, which may cost a lead.
      const fault = {
        ...drawn,
        forMs: drawn.kind === "raft-leader" ? Math.min(drawn.forMs, 800) : drawn.forMs,
      };
      faults.push(fault);
      at += fault.forMs + random.between(2, 3) * ttlSeconds * 1_000;
      continue;
    }
    if (random.chance(takesOverLate ? 0.3 : 0.12))
      faults.push(...pairAt(random, at, ttlSeconds * 1_000, takesOverLate));
    else faults.push(faultAt(random, at, ttlSeconds * 1_000, auth));
    // Some come together, some when all is well again.
    at += random.chance(0.45) ? random.between(0, 600) : random.between(400, 950 * ttlSeconds);
  }
  const preference = calm ? undefined : preferenceOf(seed, processes.length);
  if (preference !== undefined) faults.push(...chosenFaults(seed, at, ttlSeconds * 1_000));
  return {
    seed,
    election: "/merc",
    preference,
    processes,
    endpoints: calm ? 3 : random.pick([1, 2, 3, 3, 3]),
    ttlSeconds,
    mostTtlSeconds: !calm && random.chance(0.15) ? Math.max(2, ttlSeconds - 2) : 100,
    auth,
    calm,
    takeoverDelayMs: takesOverLate ? ttlSeconds * 1_000 : 0,
    prepares: random.chance(0.3),
    observed: random.chance(0.3),
    drift: random.pick([0, 0.005, 0.01, 0.01]),
    faults,
    quietAt: Math.max(...faults.map((fault) => fault.at + fault.forMs)),
  };
}

/** One story in three is steered. */
function preferenceOf(seed: number, processes: number): Preference | undefined {
  const random = new Random(seedOf(seed, 9));
  if (!random.chance(0.33)) return undefined;
  return {
    priorities: Array.from({ length: processes }, () => random.pick([100, 100, 200, 50])),
    switchBackAfterMs: random.pick([undefined, undefined, 300, 3_000]),
  };
}

/** What operators choose meanwhile. */
function chosenFaults(seed: number, until: number, ttlMs: number): Fault[] {
  const random = new Random(seedOf(seed, 10));
  return Array.from({ length: 4 + random.below(5) }, () => {
    const kind = drawn(random, Object.entries(choices) as [ChosenKind, number][]);
    return {
      kind,
      at: Math.round(random.between(1_500, until)),
      forMs: Math.round(kind === "pause" ? random.between(0.3, 3) * ttlMs : random.between(0.5, 2.5) * ttlMs),
      leader: random.chance(0.3),
      x: random.next(),
      y: random.next(),
    };
  });
}

function calmKind(random: Random, auth: boolean): DrawnKind {
  return random.pick(auth ? harmless : harmless.filter((kind) => kind !== "auth-expiry"));
}

function faultAt(
  random: Random,
  at: number,
  ttlMs: number,
  auth: boolean,
  wanted: DrawnKind = draw(random),
): Fault {
  let kind = wanted;
  while (kind === "auth-expiry" && !auth) kind = draw(random);
  return {
    kind,
    at: Math.round(at),
    forMs: Math.round(lengthOf(kind, random, ttlMs)),
    leader: random.chance(0.75),
    x: random.next(),
    y: random.next(),
  };
}

/** Two troubles that are worse together: what the one does, the other hides. */
function pairAt(random: Random, at: number, ttlMs: number, takesOverLate: boolean): Fault[] {
  const fault = (kind: DrawnKind, after: number, forMs: number): Fault => ({
    kind,
    at: Math.round(at + after),
    forMs: Math.round(forMs),
    leader: true,
    x: random.next(),
    y: 0.5 + random.next() / 2,
  });
  const soon = random.between(100, 800);
  // Whoever waits waits for this.
  const keysGo = 7;
  switch (takesOverLate && random.chance(0.6) ? keysGo : random.below(9)) {
    case 0: {
      // The leader's key goes, and its watch is deaf.
      const kind = random.pick(["delete-key", "overwrite-key", "delete-two"] as const);
      return [
        fault("starve", 0, random.between(2, 3) * ttlMs),
        fault(kind, soon, random.between(0.5, 2) * ttlMs),
      ];
    }
    case 1:
      // An answer that is on its way while the process is stopped over its deadline.
      return [
        fault("delay", 0, 2 * ttlMs),
        fault("stop", random.between(0.3, 1) * ttlMs, random.between(0.5, 0.9) * ttlMs),
      ];
    case 2:
      // A renewal that etcd has carried out, and nobody heard of.
      return [fault("half-open-in", 0, random.between(0.8, 1.4) * ttlMs), fault("crash", soon, ttlMs)];
    case 3:
      // Answers come late, and what is sent after their requests is lost.
      return [
        fault("delay", 0, 1.5 * ttlMs),
        fault("half-open-out", random.between(0.2, 0.8) * ttlMs, random.between(0.5, 1.5) * ttlMs),
      ];
    case 4:
      // The work will not stop, and the term ends.
      return [
        fault(random.pick(["work-hangs", "work-ignores"] as const), 0, random.between(0.3, 3) * ttlMs),
        fault(
          random.pick(["cut", "leave", "delete-key", "work-throws", "break"] as const),
          soon,
          1.2 * ttlMs,
        ),
      ];
    case 5:
      // The key is to be given back, and nobody answers that.
      return [
        fault("starve-requests", 0, random.between(1.5, 3) * ttlMs),
        fault(random.pick(["leave", "work-throws"] as const), soon, 1.2 * ttlMs),
      ];
    case 6:
      // The lease is over, and reads still pass.
      return [
        fault("starve-renewals", 0, random.between(1.5, 2.5) * ttlMs),
        fault("starve", soon, random.between(1, 2) * ttlMs),
      ];
    case keysGo:
      // Somebody takes his leave in good order; then the leader's key goes, and it cannot hear of that.
      return [
        { ...fault("leave", 0, ttlMs / 2), leader: false },
        fault(random.pick(["cut", "half-open-in"] as const), ttlMs / 4, random.between(1, 2) * ttlMs),
        fault(
          random.pick(["delete-prefix", "delete-key", "revoke-lease"] as const),
          ttlMs / 4 + random.between(50, 300),
          0,
        ),
      ];
    default:
      // Cut off, and then nothing of it moves.
      return [
        fault("cut", 0, random.between(1, 2) * ttlMs),
        fault("suspend", random.between(0.2, 0.9) * ttlMs, random.between(0.2, 1.5) * ttlMs),
      ];
  }
}

function draw(random: Random): DrawnKind {
  return drawn(random, kinds);
}

function drawn<T>(random: Random, from: readonly (readonly [T, number])[]): T {
  const total = from.reduce((sum, [, weight]) => sum + weight, 0);
  let left = random.next() * total;
  for (const [kind, weight] of from) {
    left -= weight;
    if (left < 0) return kind;
  }
  return (from[0] as readonly [T, number])[0];
}

function lengthOf(kind: DrawnKind, random: Random, ttlMs: number): number {
  switch (kind) {
    case "stall":
      return random.between(50, 700);
    case "break":
    case "compaction":
    case "work-throws":
    case "clock-rate":
    case "delete-key":
    case "delete-two":
    case "delete-prefix":
    case "revoke-lease":
      return 0;
    case "work-hangs":
      return random.between(0.1 * ttlMs, 0.5 * ttlMs);
    case "work-ignores":
      return random.between(ttlMs, 4 * ttlMs);
    case "raft-leader":
      return random.between(50, 1_500);
    case "restore":
    case "other-cluster":
      return random.between(300, 3_000);
    case "crash":
    case "leave":
      return random.between(200, 1.5 * ttlMs);
    default:
      return random.chance(0.7)
        ? random.between(0.2 * ttlMs, 1.2 * ttlMs)
        : random.between(1.2 * ttlMs, 2.4 * ttlMs);
  }
}
